"""docs/formats.md says what the recipe file holds: every key of it, with the value that it usually has."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import yaml

from adaptertune_deploy.train.request.recipe import MAX_COUNT, Recipe
from adaptertune_deploy.train.request.recipe_file import LEFT_OUT, read

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
ROW = re.compile(r"^\| (`\w+`(?:, `\w+`)*) \| (.+) \| ([^|]+) \|$", re.MULTILINE)


def described() -> dict[str, object]:
    """Return key -> usual value, as the page has them."""
    section = PAGE.read_text().partition("## report/recipe.yaml")[2].partition("\n## ")[0]
    rows = [(keys, usual.strip("`")) for keys, _, usual in ROW.findall(section)]
    return {key.strip("`"): yaml.safe_load(usual) for keys, usual in rows for key in keys.split(", ")}


def test_the_recipe_s_keys_are_those_of_a_recipe_with_their_usual_values() -> None:
    known = {field.name: field.default for field in dataclasses.fields(Recipe) if field.name != "search"}
    assert described() == known
    assert set(LEFT_OUT) == {"search", "device", "workers"}
    assert f"0 to {MAX_COUNT}" in PAGE.read_text()


def test_every_key_of_the_page_is_read(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(described()))
    assert read(path).keys() >= described().keys()
