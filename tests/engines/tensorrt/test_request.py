"""engines.tensorrt.request: what is chosen becomes what a plan is built for; small Jetsons are held back."""

from __future__ import annotations

import dataclasses

from adaptertune_deploy.engines.cuda.driver import Gpu
from adaptertune_deploy.engines.tensorrt.request import BuildRequest, request_for
from adaptertune_deploy.engines.tensorrt.settings import TensorrtSettings
from adaptertune_deploy.engines.tensorrt.shapes import Capacity

NANO = Gpu(0, "Orin Nano", (8, 7), 8 << 30, True)
AGX = Gpu(0, "AGX Orin", (8, 7), 64 << 30, True)
RTX = Gpu(0, "RTX 2000", (8, 9), 8 << 30, False)


def test_a_plan_is_built_for_what_was_chosen() -> None:
    settings = TensorrtSettings(max_rows=16, tuned_rows=64, slots=32, max_rank=8, level=5, workspace_mb=256)
    assert request_for(RTX, settings, 12) == BuildRequest(
        Capacity(16, 16, 32, 8, 12), "8.9", workspace=256 << 20, level=5
    )
    assert request_for(RTX, settings, 0).capacity == Capacity(16, 16, 0, 0, 0)


def test_a_small_board_shares_its_memory_and_builds_with_little_of_it() -> None:
    assert request_for(NANO, TensorrtSettings(), 0) == BuildRequest(
        Capacity(32, 8, 0, 0, 0), "8.7", workspace=1 << 30, tactic_memory=2 << 30, level=2
    )
    for gpu in (AGX, RTX):
        request = request_for(gpu, TensorrtSettings(), 0)
        assert (request.workspace, request.tactic_memory, request.level) == (0, 0, 3)
    typed = request_for(NANO, TensorrtSettings(workspace_mb=100, tactic_memory_mb=200, level=4), 0)
    assert (typed.workspace, typed.tactic_memory, typed.level) == (100 << 20, 200 << 20, 4)


def test_whatever_changes_a_build_changes_its_text() -> None:
    """The text is part of what a kept plan is compared with."""
    base = request_for(RTX, TensorrtSettings(), 3)
    other = {"capacity": Capacity(1, 1, 1, 1, 3), "sm": "8.0", "workspace": 1, "tactic_memory": 1, "level": 1}
    assert set(other) == {field.name for field in dataclasses.fields(BuildRequest)}
    texts = [base.settings(), *(dataclasses.replace(base, **{key: value}).settings() for key, value in other.items())]
    assert len({str(text) for text in texts}) == len(texts)
