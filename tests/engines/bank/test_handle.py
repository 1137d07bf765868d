"""engines.bank.handle: a task's place is a value."""

from __future__ import annotations

import dataclasses

import pytest

from adaptertune_deploy.engines.bank.handle import HEAD_ONLY, Handle


def test_places_that_are_alike_are_equal() -> None:
    assert {Handle(2, 1): "a", Handle(3, 1): "b"}[Handle(2, 1)] == "a"
    assert Handle(0, 0) == HEAD_ONLY


def test_a_place_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        HEAD_ONLY.slot = 1  # type: ignore[misc]
