"""The page on reliability names tests that exist, and options that the server has."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

from adaptertune_deploy.serve.settings import Settings, option

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text()
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)


def test_the_page_names_tests() -> None:
    assert len(NAMED) > 30
    assert len(set(NAMED)) == len(NAMED)


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_the_page_names_exists(file: str, name: str) -> None:
    tree = ast.parse((ROOT / "tests" / file).read_text())
    assert name in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


def test_the_page_names_the_servers_limits() -> None:
    options = {option(limit.name) for limit in fields(Settings)}
    named = set(re.findall(r"`(--[a-z-]+)`", PAGE)) - {"--verbose"}
    assert named <= options
    assert options - named == {"--max-batch", "--decode-threads"}  # how work is done, not how much is taken
