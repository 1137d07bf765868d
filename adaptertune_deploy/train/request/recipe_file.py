"""A recipe as a YAML file: what `atd train --config` reads, and report/recipe.yaml repeats of a training.

A training repeats what it was asked for and not what it chose for its images and its machine (folds, precision, a rank
that it searched), for the file serves other images too.

The keys are the fields of recipe.Recipe, with - or _ between words. What a file leaves out is chosen as usual.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from adaptertune_deploy.core.errors import FormatError, UsageError, did_you_mean
from adaptertune_deploy.core.storage import records
from adaptertune_deploy.train.request.recipe import FULL, GIVEN, HEAD, Recipe, method_fields, rank_fields

NAME = "recipe.yaml"
# Where a training runs is no part of how it learns.
LEFT_OUT = ("search", "device", "workers")
COMMENT = "# What this task's training was asked for; the same again: atd train --dataset ... --config FILE\n"


def read(path: Path) -> dict[str, Any]:
    """Return the fields of Recipe that a file gives, checked.

    Raises:
        UsageError: no such file, not a mapping, an unknown key, or a value that a recipe can't have.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        found, node = yaml.safe_load(text), yaml.compose(text, yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path}: {getattr(error, 'strerror', None) or 'no text in UTF-8'}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"--config {path}: not readable as YAML ({' '.join(str(error).split()):.200})") from None
    if not isinstance(found, dict):
        what = "nothing" if found is None else "a list" if isinstance(found, list) else "one value"
        raise UsageError(f"--config {path}: holds {what}, expected names and values, as 'lr: 0.003'")
    known = {field.name: str(field.type) for field in dataclasses.fields(Recipe)}
    given: dict[str, Any] = {}
    for key, value in found.items():
        name = _name(key)
        if name not in known or name == "search":
            names = [known_name for known_name in known if known_name != "search"]
            raise UsageError(f"--config {path}: unknown key '{key}'.{did_you_mean(name, names)}")
        given[name] = _number(value) if known[name] == "float" else value
    written = [_name(key.value) for key, _ in node.value]  # the mapping itself keeps the last of a repeated key
    if repeated := next((name for place, name in enumerate(written) if name in written[:place]), None):
        raise UsageError(f"--config {path}: '{repeated}' stands there more than once; leave one of them out")
    try:
        given = _decided(given)
        records.parse(given, Recipe, f"--config {path}")
    except FormatError as error:
        raise UsageError(str(error)) from None
    except UsageError as error:
        raise UsageError(f"--config {path}: {error}") from None
    return given


def _decided(given: dict[str, Any]) -> dict[str, Any]:
    """Return a file's values with the fields that the words of its method and its rank stand for.

    Raises:
        UsageError: no such word, or values that exclude each other.
    """
    method, rank, nested = (given.get(name) for name in ("method", "rank", "nested"))
    if isinstance(method, str):
        given = method_fields(method) | {name: value for name, value in given.items() if name != "method"}
        for name in ("rank", "nested"):
            if method in (HEAD, FULL) and given[name] not in (0, "0"):
                said = f"method: {method} and {name}: {str(given[name]).lower()}"
                raise UsageError(f"{said}: only adapters have a rank; leave one of them out")
    if isinstance(rank, str):
        fields = rank_fields(rank)
        if isinstance(nested, bool) and nested != fields["nested"] and (fields["nested"] or fields["search"] != GIVEN):
            said = f"nested: {str(nested).lower()} and rank: {rank}"
            raise UsageError(f"{said} contradict each other; leave one of them out")
        given = fields | given | {"rank": fields["rank"]}
    return given


def _name(key: object) -> str:
    """Return the field of Recipe that a key of a file means."""
    return str(key).replace("-", "_")


def dump(recipe: Recipe) -> bytes:
    """Return a recipe as the bytes of a file that `read` reads; a search is the word of --rank that asks for it."""
    import yaml

    fields = {name: value for name, value in dataclasses.asdict(recipe).items() if name not in LEFT_OUT}
    if recipe.search != GIVEN:
        fields["rank"] = recipe.search
    text: str = yaml.safe_dump(fields, sort_keys=False)
    return (COMMENT + text).encode()


def _number(value: object) -> object:
    """Return a text such as 1e-3, which YAML 1.1 takes for no number, as the number that it means."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value
