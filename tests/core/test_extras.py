"""The table of extras, against pyproject.toml."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adaptertune_deploy.cli import main
from adaptertune_deploy.core.extras import COMMANDS, ENGINE_EXTRAS, EXTRAS, extras_of

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_the_table_is_that_of_the_project() -> None:
    if not PROJECT.is_file():
        pytest.skip("an installed package has no pyproject.toml beside it")
    tomllib = pytest.importorskip("tomllib")
    declared = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    names = {
        extra: tuple(re.split(r"[\[<>=!~;]", line)[0] for line in lines)
        for extra, lines in declared.items()
        if extra != "dev"
    }
    assert dict(EXTRAS) == names


def test_commands_and_their_extras_exist() -> None:
    commands = {command.name for command in main.app.registered_commands}
    assert {name.split()[0] for name in COMMANDS} <= commands
    assert {extra for extras in COMMANDS.values() for extra in extras} | set(ENGINE_EXTRAS) <= set(EXTRAS)


@pytest.mark.parametrize(
    ("line", "extras"),
    [("train --dataset pets", ("train",)), ("add adapters/x", ("export",)), ("predict x", ()), ("", ()),
     ("quickstart", ("cpu", "train", "export"))],
)  # fmt: skip
def test_the_extras_of_a_command_line(line: str, extras: tuple[str, ...]) -> None:
    assert extras_of(line.split()) == extras
