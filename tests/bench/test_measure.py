"""A real bundle on a real engine, on a clock that runs by itself."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from adaptertune_deploy.bench import measure as module
from adaptertune_deploy.bench.budget import Budget
from adaptertune_deploy.bench.known import Known, find_known
from adaptertune_deploy.bench.machine import describe_machine
from adaptertune_deploy.bench.measure import Plan, measure
from adaptertune_deploy.bench.memory import Question
from adaptertune_deploy.bench.results import Bench, Way
from adaptertune_deploy.bench.subject import disk_bytes
from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.core.errors import EngineError, UsageError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.options import EngineOptions
from tests.bench.planted import ticking

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
PLAN = Plan(("shared", "merged"), ("onnxruntime",), device="cpu", threads=1, batches=(1, 2), tasks=(1, 3))
GFLOPS = 5.0


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Question]:
    """Plant memory and limits, and return what was asked about memory."""
    questions: list[Question] = []

    def weigh(question: Question) -> tuple[float, ...]:
        questions.append(question)
        return tuple(100.0 * question.tasks + batch for batch in question.batches)

    monkeypatch.setattr(module, "measure_memory", weigh)
    monkeypatch.setattr(module, "measure_ceiling", lambda *_: GFLOPS * 1e9)
    return questions


def measured(folder: Path, plan: Plan = PLAN, seconds: float = 30.0, known: list[Known] | None = None) -> Bench:
    manifest = read_manifest(folder / "bundle")
    found = find_known(folder / "adapters", manifest, manifest.tasks)[0] if known is None else known
    budget = Budget(seconds, clock=ticking())
    return measure(folder / "bundle", manifest, plan, found, describe_machine(), budget, lambda: NOW)


def test_every_form_number_of_tasks_and_batch_is_measured(folder: Path, asked: list[Question]) -> None:
    bench = measured(folder)
    ways = [Way(form, "onnxruntime", Precision.FP32) for form in ("shared", "merged")]
    assert [(entry.way, entry.tasks, entry.batch) for entry in bench.ran] == [
        (way, tasks, batch) for tasks in (1, 3) for way in ways for batch in (1, 2)
    ]
    assert (bench.left_out, bench.measured) == ((), "2026-01-02 03:04 UTC")
    assert [(entry.way, entry.images, entry.same) for entry in bench.answered] == [(way, 8, 8) for way in ways]
    assert all(entry.of_tolerance < 1 for entry in bench.answered)
    assert [(question.tasks, question.form) for question in asked] == [
        (tasks, form) for tasks in (1, 3) for form in ("shared", "merged")
    ]


def test_numbers_are_put_together_as_they_are_meant(folder: Path) -> None:
    bench = measured(folder)
    manifest = read_manifest(folder / "bundle")
    assert bench.image_gflop is not None
    for entry in bench.ran:
        assert entry.memory_mb == 100 * entry.tasks + entry.batch
        assert entry.milliseconds.median == pytest.approx(10)  # one tick of the clock
        assert entry.p99_ms == pytest.approx(10)
        options = EngineOptions(device="cpu")
        assert entry.disk_bytes == disk_bytes(folder / "bundle", manifest, entry.way.form, options, entry.tasks)
        assert entry.of_limit == pytest.approx(entry.batch * bench.image_gflop / GFLOPS / 0.010)
    (limit,) = bench.limits
    assert (limit.engine, limit.precision, limit.gflops) == ("onnxruntime", Precision.FP32, GFLOPS)


def test_short_of_time_the_fewest_tasks_are_timed_and_the_rest_is_named(folder: Path) -> None:
    bench = measured(folder, seconds=0.01)
    assert {entry.tasks for entry in bench.ran} == {1}
    assert {entry.rounds for entry in bench.ran} == {1}
    assert bench.left_out == (
        "memory of 3 of 4: time was up, give --time more",
        "times with 3 tasks: time was up, give --time more",
    )


def test_what_does_not_work_is_left_out_with_its_reason(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> tuple[float, ...]:
        raise EngineError("no room")

    monkeypatch.setattr(module, "measure_memory", refuse)
    monkeypatch.setattr(module, "measure_ceiling", refuse)
    bench = measured(folder)
    assert all(entry.memory_mb is None and entry.of_limit is None for entry in bench.ran)
    assert "the limit of onnxruntime in fp32 on 1 thread: no room" in bench.left_out
    assert "memory of shared fp32 onnxruntime with 3 tasks: no room" in bench.left_out


def test_a_graph_that_is_absent_leaves_its_form_out_and_the_other_is_measured(folder: Path) -> None:
    (merged,) = (folder / "bundle" / "merged").glob("cars-*.onnx")
    merged.unlink()
    bench = measured(folder)
    assert {entry.way.form for entry in bench.ran} == {"shared"}
    (reason,) = bench.left_out
    assert reason.startswith("merged fp32 onnxruntime: ")
    assert f"{merged.name}: no such file" in reason


def test_without_samples_nothing_is_said_of_answers(folder: Path) -> None:
    bench = measured(folder, known=[])
    assert bench.answered == ()
    assert len(bench.ran) == 8


def test_nothing_that_runs_is_a_mistake(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"none of onnxruntime runs a graph of this bundle in int8; "):
        measured(folder, Plan(("shared",), ("onnxruntime",), (Precision.INT8,)))
