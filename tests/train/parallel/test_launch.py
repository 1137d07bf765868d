"""train.parallel.launch: what torchrun sets, and what can't be meant."""

from __future__ import annotations

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.train.parallel.launch import Launch, check_shared, launched

SET = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


def test_a_process_of_torchrun_knows_its_place() -> None:
    assert launched(SET) == Launch(1, 2, 0)


@pytest.mark.parametrize("environment", [{}, {"RANK": "0", "LOCAL_RANK": "0"}, {**SET, "RANK": "0", "WORLD_SIZE": "1"}])
def test_a_process_alone_is_no_launch(environment: dict[str, str]) -> None:
    assert launched(environment) is None


def test_what_is_not_set_is_named() -> None:
    with pytest.raises(
        UsageError, match="WORLD_SIZE=2 asks for several processes, but RANK, MASTER_PORT is not set; st"
    ):
        launched({name: value for name, value in SET.items() if name not in ("RANK", "MASTER_PORT")})


@pytest.mark.parametrize("changes", [{"RANK": "2"}, {"RANK": "-1"}, {"WORLD_SIZE": "two"}, {"LOCAL_RANK": "-1"}])
def test_places_that_make_no_sense_are_refused(changes: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="no places of processes; start them by torchrun, or unset WORLD_SIZE"):
        launched({**SET, **changes})


def test_full_fine_tuning_is_not_shared() -> None:
    check_shared(full=False, option="--full")
    with pytest.raises(UsageError, match="--full: several processes train adapters only; start it without torchrun"):
        check_shared(full=True, option="--full")
