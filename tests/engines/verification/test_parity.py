"""engines.verification.parity: a graph that is wrong, even only at one batch size or in one task, does not pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import MERGED, SHARED, GraphRecord, ParityRecord
from adaptertune_deploy.core.errors import ParityError
from adaptertune_deploy.core.precision import Precision, Tolerance
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.bank.slab import HostSlab
from adaptertune_deploy.engines.engine import AnyArray, Slab, TensorInfo
from adaptertune_deploy.engines.limits import Limits
from adaptertune_deploy.engines.verification import parity
from adaptertune_deploy.engines.verification.parity import asked_pairs, compare, verify_merged, verify_shared
from tests.banks import all_inputs, tasks_of
from tests.builders import make_adapter, make_backbone_spec, make_task

Answer = Callable[[Mapping[str, AnyArray]], Array]
SLOTS, WIDTH = (0, 1, 2), 4


class Scripted:
    """An engine whose answers a function gives; remembers what it was asked."""

    inputs: Mapping[str, TensorInfo] = {}
    outputs: Mapping[str, TensorInfo] = {}
    metadata: Mapping[str, str] = {}
    name, version = "scripted", "1"
    provider, device, precision = "ScriptedProvider", "cpu", Precision.FP32
    limits = Limits()

    def __init__(self, answer: Answer, output: str = bank.FEATURES) -> None:
        self.answer = answer
        self.output = output
        self.asked: list[Mapping[str, AnyArray]] = []

    def allocate(self, shapes: Mapping[str, tuple[int, ...]], capacity: int) -> HostSlab:
        inputs = {name: TensorInfo(name, np.dtype(np.float32), ()) for name in shapes}
        return HostSlab(shapes, inputs, capacity)

    def run(
        self, feeds: Mapping[str, AnyArray], resident: Slab | None = None, slot: int | None = None
    ) -> dict[str, AnyArray]:
        self.asked.append(all_inputs(feeds, resident, slot))
        return {self.output: self.answer(self.asked[-1])}

    def close(self) -> None:
        """Nothing to release."""


IMAGES = np.arange(10, dtype=np.float32).reshape(10, 1, 1, 1)  # image i holds the number i


def merged_answer(feeds: Mapping[str, AnyArray]) -> Array:
    """Logits (i, 1) for image i."""
    number = feeds[bank.IMAGES].reshape(-1)
    return np.stack([number, np.ones_like(number)], axis=1)


def shared_answer(feeds: Mapping[str, AnyArray], task: Sequence[int]) -> Array:
    """Features (i, task, 0, 0) for image i."""
    number = feeds[bank.IMAGES].reshape(-1)[feeds[bank.IMAGE]]
    place = np.array(task, dtype=np.float32)
    return np.stack([number, place, 0 * place, 0 * place], axis=1)


LOGITS = merged_answer({bank.IMAGES: IMAGES})


def with_plain_heads(held: Sequence[Adapter]) -> list[Adapter]:
    """Return the tasks with heads that hand on the features, cut or filled up with zeros."""
    return [
        dataclasses.replace(
            adapter,
            tensors={
                **adapter.tensors,
                "head.weight": np.eye(len(adapter.task.labels), 4, dtype=np.float32),
                "head.bias": np.zeros(len(adapter.task.labels), np.float32),
            },
        )
        for adapter in held
    ]


def shared_expected(held: Sequence[Adapter]) -> list[Array]:
    """Torch's logits of with_plain_heads: (i, task, 0, ...) for image i."""
    logits = [np.zeros((10, len(adapter.task.labels)), np.float32) for adapter in held]
    for task, rows in enumerate(logits):
        rows[:, 0], rows[:, 1] = np.arange(10), task
    return logits


def record(form: str, task: str | None = None) -> GraphRecord:
    inputs = {bank.IMAGES: "float32"}
    return bundle.record_graph(b"a graph", form, inputs, opset=20, ir_version=10, task=task)


PETS = record(MERGED, "pets")
ENGINE: Any = Scripted(merged_answer, bank.LOGITS)
TASKS = (("pets", 5, 4, (0, 1, 2)), ("flowers", 11, 2, (2,)), ("digits", 2, 6, (0, 2)))


@pytest.fixture(scope="module")
def held() -> tuple[Adapter, ...]:
    """Three tasks of other ranks, class counts and blocks."""
    backbone = make_backbone_spec(WIDTH, 3)
    return tuple(make_adapter(make_task(*task), backbone, seed) for seed, task in enumerate(TASKS))


def compared(found: Array, wanted: Array, graph: GraphRecord = PETS, engine: Any = ENGINE) -> ParityRecord:
    return compare(found, wanted, 3, engine, graph, "pets")


def test_the_numbers_of_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "TOLERANCES", {Precision.FP32: Tolerance(1.0, 5e-6, 1.0)})
    wanted = np.array([[1, 0], [0, 1], [3, 4]], np.float32)
    found = np.array([[1, 0], [0.5, 0.25], [3, 4]], np.float32)
    entry = dataclasses.asdict(compared(found, wanted))
    told = ("graph", "task", "engine", "engine_version", "provider", "precision")
    assert [entry.pop(name) for name in told] == [PETS.file, "pets", "scripted", "1", "ScriptedProvider", "fp32"]
    assert entry == pytest.approx(
        {
            "images": 3,
            "max_abs": 0.75,
            "mean_abs": (0.5 + 0.75) / 6,
            "cosine": 0.25 / np.hypot(0.5, 0.25),
            "agreement": 2 / 3,
            "atol": 1.0,
            "rtol": 5e-6,
        }
    )


@pytest.mark.parametrize(
    ("graph", "what"),
    [(PETS, "the merged fp32 graph of task 'pets'"), (record(SHARED), "the shared fp32 graph with task 'pets'")],
)
def test_an_error_names_the_graph_and_the_numbers(graph: GraphRecord, what: str) -> None:
    text = rf"^{what} differs from torch by up to 2\.0e-04 on ScriptedProvider in fp32, expected at most 1e-04"
    with pytest.raises(ParityError, match=text):
        compared(LOGITS + np.float32(2e-4), LOGITS, graph)


def test_what_is_computed_in_a_coarser_precision_may_differ_more_but_not_in_every_logit() -> None:
    engine: Any = Scripted(merged_answer, bank.LOGITS)
    engine.precision = Precision.INT8
    off = LOGITS.copy()
    off[3, 0] += 1.0
    entry = compared(off, LOGITS, PETS, engine)
    assert (entry.max_abs, entry.atol, entry.rtol, entry.precision) == (1.0, 0.05, 0.15, Precision.INT8)
    with pytest.raises(ParityError, match=r"differs from torch by up to 1\.0e\+00 .* \(mean 1\.0e\+00 of 3"):
        compared(LOGITS + np.float32(1.0), LOGITS, PETS, engine)
    with pytest.raises(ParityError, match=r"up to 1\.0e\+00"):
        compared(off, LOGITS)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_the_tolerance_grows_with_the_logits(scale: float) -> None:
    """The largest logit is 9, so at scale 100 differences of 1e-3 are rounding and 5e-3 are not."""
    wanted = LOGITS * np.float32(scale)
    allowed = 1e-4 + 5e-6 * 9 * scale
    assert compared(wanted + np.float32(0.9 * allowed), wanted).max_abs < allowed
    with pytest.raises(ParityError, match="differs from torch"):
        compared(wanted + np.float32(1.2 * allowed), wanted)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_do_not_pass(bad: float) -> None:
    spoiled = LOGITS.copy()
    spoiled[3, 1] = bad
    with pytest.raises(ParityError, match="'pets' gives NaN or infinite logits on ScriptedProvider"):
        compared(spoiled, LOGITS)


def test_an_answer_that_torch_was_not_asked_for_does_not_pass() -> None:
    unknown = LOGITS.copy()
    unknown[3] = np.nan
    with pytest.raises(ParityError, match="differs from torch by up to nan"):
        compared(LOGITS, unknown)


def test_a_merged_graph_is_asked_at_every_batch_size_and_for_every_image() -> None:
    engine = Scripted(merged_answer, bank.LOGITS)
    report = verify_merged(engine, PETS, LOGITS, IMAGES)
    sizes = [len(feeds[bank.IMAGES]) for feeds in engine.asked]
    assert set(sizes) == set(parity.BATCHES)
    assert {int(value) for feeds in engine.asked for value in feeds[bank.IMAGES].ravel()} == set(range(10))
    assert (report.images, report.max_abs, report.agreement) == (10, 0, 1)
    assert report.cosine == pytest.approx(1, abs=1e-12)
    assert report.provider == "ScriptedProvider"


@pytest.mark.parametrize("size", parity.BATCHES)
def test_a_merged_graph_wrong_at_one_batch_size_does_not_pass(size: int) -> None:
    def answer(feeds: Mapping[str, AnyArray]) -> Array:
        logits = merged_answer(feeds)
        return logits + np.float32(0.01) * (len(logits) == size)

    with pytest.raises(ParityError, match="pets' differs"):
        verify_merged(Scripted(answer, bank.LOGITS), PETS, LOGITS, IMAGES)


def test_the_shared_graph_is_asked_for_every_pair_in_mixed_batches(held: Sequence[Adapter]) -> None:
    engine = Scripted(lambda feeds: shared_answer(feeds, tasks_of(feeds, held)))
    reports = verify_shared(engine, record(SHARED), with_plain_heads(held), SLOTS, WIDTH, shared_expected(held), IMAGES)
    assert [report.max_abs for report in reports] == [0, 0, 0]
    assert [report.images for report in reports] == [10, 10, 10]
    batches = [
        list(zip(feeds[bank.IMAGES].ravel()[feeds[bank.IMAGE]].astype(int), tasks_of(feeds, held), strict=True))
        for feeds in engine.asked
    ]
    assert {pair for batch in batches for pair in batch} == {(image, task) for image in range(10) for task in range(3)}
    assert {len(batch) for batch in batches} == {1, 2, 7, 30, 3}  # of 32 rows two are asked again, and run once
    assert all(len({task for _, task in batch}) > 1 for batch in batches if len(batch) > 1)
    assert [(0, 0), (0, 1), (0, 2)] in batches
    for feeds in engine.asked:
        assert len(np.unique(feeds[bank.IMAGES])) == len(feeds[bank.IMAGES])  # every image is handed over once


@pytest.mark.parametrize("fault", ["first task for all", "first image for all", "alone", "one task", "rows swapped"])
def test_a_shared_graph_with_one_fault_does_not_pass(held: Sequence[Adapter], fault: str) -> None:
    def answer(feeds: Mapping[str, AnyArray]) -> Array:
        image, task = feeds[bank.IMAGE], np.array(tasks_of(feeds, held))
        if fault == "first task for all":
            task = np.full_like(task, task[0])
        if fault == "first image for all":
            image = np.full_like(image, image[0])
        logits = shared_answer({**feeds, bank.IMAGE: image}, task.tolist())
        if fault == "alone" and len(logits) == 1:
            logits = logits + 1
        if fault == "one task":
            logits = logits + 0.001 * (task == 2)[:, None]
        return logits[::-1] if fault == "rows swapped" else logits

    with pytest.raises(ParityError, match=r"the shared fp32 graph with task '.+' differs from torch"):
        verify_shared(
            Scripted(answer), record(SHARED), with_plain_heads(held), SLOTS, WIDTH, shared_expected(held), IMAGES
        )


SIZES = [(10, 3), (32, 2), (32, 10), (20, 17), (32, 32), (8, 10), (1, 1), (1, 7), (4, 40), (512, 3)]


@pytest.mark.parametrize(("images", "tasks"), SIZES)
def test_every_image_and_every_task_is_asked_and_small_numbers_in_every_pair(images: int, tasks: int) -> None:
    pairs = [tuple(pair) for pair in asked_pairs(images, tasks).tolist()]
    assert len(set(pairs)) == len(pairs)
    assert {image for image, _ in pairs} == set(range(images))
    assert {task for _, task in pairs} == set(range(tasks))
    if images * tasks <= parity.ROWS:
        assert len(pairs) == images * tasks
    else:
        assert len(pairs) <= max(parity.ROWS, images + 1, 4 * tasks)
    if tasks > 1:
        assert sum(image == 0 for image, _ in pairs) > 1  # one image for several tasks
    if 1 < images >= tasks:
        assert all(sum(pair[1] == task for pair in pairs) > 1 for task in range(tasks))


def test_rows_that_no_pair_asks_for_are_not_looked_at() -> None:
    """40 tasks on 4 images: torch's other answers need not even be computed."""
    backbone = make_backbone_spec(WIDTH, 3)
    made = [make_adapter(make_task(f"t{place}", 2, 1, (0,)), backbone, seed=place) for place in range(40)]
    held = with_plain_heads(made)
    engine = Scripted(lambda feeds: shared_answer(feeds, tasks_of(feeds, held)))
    pairs = asked_pairs(4, 40)
    expected = [np.full((4, 2), np.nan, np.float32) for _ in held]
    for image, task in pairs.tolist():
        expected[task][image] = (image, task)
    entries = verify_shared(engine, record(SHARED), held, SLOTS, WIDTH, expected, IMAGES[:4])
    assert [entry.max_abs for entry in entries] == [0] * 40
    assert [entry.images for entry in entries] == [np.sum(pairs[:, 1] == task) for task in range(40)]
