"""cli.launched: who runs a command, who helps in it, and what several processes can't do; help: test_train."""

from __future__ import annotations

import pytest
import typer

from adaptertune_deploy.cli.parts.launched import first_process
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.train.parallel import launch as launching
from adaptertune_deploy.train.parallel.launch import Launch
from adaptertune_deploy.train.shared import help as helping

PROCESSES = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


def test_a_process_alone_is_not_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert first_process(full=True, option="--full") is None


def test_the_first_runs_what_can_be_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PROCESSES.items():
        monkeypatch.setenv(name, value)
    assert first_process(full=False, option="--full") == Launch(0, 2, 0)
    with pytest.raises(UsageError, match="--full: several processes"):
        first_process(full=True, option="--full")


def test_another_one_helps_and_ends_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**PROCESSES, "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(launching, "on_signals", lambda handler: None)
    monkeypatch.setattr(helping, "help_train", lambda launch: 7 * launch.rank)
    with pytest.raises(typer.Exit) as ended:
        first_process(full=True, option="--full")  # the first one refuses
    assert ended.value.exit_code == 7
