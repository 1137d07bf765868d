from __future__ import annotations

import dataclasses
import inspect

import pytest

from adaptertune_deploy.cli.parts.limits import lines, with_limits
from adaptertune_deploy.serve.settings import Settings, option, variable
from tests.cli.conftest import Atd


def test_a_command_gets_its_limits_as_one_value() -> None:
    seen = []

    def command(bounds: Settings, port: int = 8000) -> None:
        """Do something."""
        seen.append((bounds, port))

    made = with_limits(command)
    names = [limit.name for limit in dataclasses.fields(Settings)]
    assert list(inspect.signature(made).parameters) == ["port", *names]
    assert made.__doc__ == "Do something."
    made(port=1, **{**dataclasses.asdict(Settings()), "max_batch": 3})  # type: ignore[call-arg]
    assert seen == [(Settings(max_batch=3), 1)]


def test_every_limit_is_an_option_and_a_variable_in_the_help(atd: Atd) -> None:
    shown = "".join(atd("serve", "--help").out.split())
    for limit in dataclasses.fields(Settings):
        assert f"{option(limit.name)}{limit.metadata['unit']}" in shown
        default = "".join(limit.metadata["otherwise"].split()) or limit.default
        assert f"[default:{default}][${variable(limit.name)}]" in shown


def test_a_variable_sets_a_limit_and_an_option_wins_over_it(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATD_MAX_BATCH", "0")
    assert atd("serve", "--bundle", "none").err.startswith("error: ATD_MAX_BATCH=0: expected at least 1; ")
    assert "none: holds no manifest.json" in atd("serve", "--bundle", "none", "--max-batch", "1").err


def test_limits_are_printed_with_their_units() -> None:
    found = lines(Settings())
    assert "--max-batch found at the start, at most 8 rows" in found
    assert "--max-batch 3 rows" in lines(Settings(max_batch=3))
    assert "--keep-alive 75 seconds" in found
    assert "--decode-threads 2" in found
    assert "--cache 0 MB" in found
    assert len(found) == len(dataclasses.fields(Settings))
