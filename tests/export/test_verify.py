"""export.verify: a graph that is wrong, even only at one batch size or in one task, does not pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from numpy.testing import assert_allclose

from adaptertune_deploy.core import bank
from adaptertune_deploy.core.adapter import Adapter
from adaptertune_deploy.core.errors import ExportError, ParityError
from adaptertune_deploy.core.tensors import Array
from adaptertune_deploy.engines.engine import AnyArray, Slab, TensorInfo
from adaptertune_deploy.engines.slab import HostSlab
from adaptertune_deploy.export import verify
from adaptertune_deploy.export.verify import compare, torch_logits, verify_merged, verify_shared
from adaptertune_deploy.model.backbone import Backbone
from tests.banks import all_inputs, tasks_of
from tests.export.conftest import SLOTS, WIDTH, OpenGraph, merged_of

Answer = Callable[[Mapping[str, AnyArray]], Array]


class Scripted:
    """An engine whose answers a function gives; remembers what it was asked."""

    inputs: Mapping[str, TensorInfo] = {}
    outputs: Mapping[str, TensorInfo] = {}
    metadata: Mapping[str, str] = {}
    name, version = "scripted", "1"
    provider = "ScriptedProvider"

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
    task = np.array(task, dtype=np.float32)
    return np.stack([number, task, 0 * task, 0 * task], axis=1)


MERGED = merged_answer({bank.IMAGES: IMAGES})


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


def test_torchs_answers_do_not_depend_on_how_they_are_batched(
    backbone: Backbone, held: Sequence[Adapter], images: Array, expected: list[Array]
) -> None:
    assert_allclose(torch_logits(backbone, held[0], images[:19]), expected[0][:19], atol=1e-5)


def test_the_numbers_of_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "ATOL", 1.0)
    wanted = np.array([[1, 0], [0, 1], [3, 4]], np.float32)
    found = np.array([[1, 0], [0.5, 0.25], [3, 4]], np.float32)
    report = compare(found, wanted, 3, "P", "a graph")
    assert dataclasses.asdict(report) == pytest.approx(
        {
            "images": 3,
            "max_abs": 0.75,
            "mean_abs": (0.5 + 0.75) / 6,
            "cosine": 0.25 / np.hypot(0.5, 0.25),
            "top1_agreement": 2 / 3,
            "tolerance": 1.0 + verify.RTOL * 4,
            "provider": "P",
        }
    )


def test_an_error_names_the_numbers() -> None:
    with pytest.raises(
        ParityError, match=r"^a graph differs from torch by up to 2\.0e-04 on P, expected at most 1e-04"
    ):
        compare(MERGED + np.float32(2e-4), MERGED, 10, "P", "a graph")


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_the_tolerance_grows_with_the_logits(scale: float) -> None:
    """The largest logit is 9, so at scale 100 differences of 1e-3 are rounding and 5e-3 are not."""
    wanted = MERGED * np.float32(scale)
    allowed = 1e-4 + 5e-6 * 9 * scale
    assert compare(wanted + np.float32(0.9 * allowed), wanted, 10, "P", "a graph").tolerance == pytest.approx(allowed)
    with pytest.raises(ParityError, match="differs from torch"):
        compare(wanted + np.float32(1.2 * allowed), wanted, 10, "P", "a graph")


def test_torch_that_gives_nan_is_blamed_itself(backbone: Backbone, held: Sequence[Adapter], images: Array) -> None:
    broken = {name: np.full_like(value, np.nan) for name, value in held[0].tensors.items()}
    with pytest.raises(ExportError, match=r"task 'pets': torch itself gives NaN or infinite logits on .*random; train"):
        torch_logits(backbone, Adapter(held[0].task, broken), images[:2])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_do_not_pass(bad: float) -> None:
    found = MERGED.copy()
    found[3, 1] = bad
    with pytest.raises(ParityError, match="a graph gives NaN or infinite logits on P"):
        compare(found, MERGED, 10, "P", "a graph")


def test_a_merged_graph_is_asked_at_every_batch_size_and_for_every_image() -> None:
    engine = Scripted(merged_answer, bank.LOGITS)
    report = verify_merged(engine, MERGED, IMAGES, "a graph")
    sizes = [len(feeds[bank.IMAGES]) for feeds in engine.asked]
    assert set(sizes) == set(verify.BATCHES)
    assert {int(value) for feeds in engine.asked for value in feeds[bank.IMAGES].ravel()} == set(range(10))
    assert (report.images, report.max_abs, report.top1_agreement) == (10, 0, 1)
    assert report.cosine == pytest.approx(1, abs=1e-12)
    assert report.provider == "ScriptedProvider"


@pytest.mark.parametrize("size", verify.BATCHES)
def test_a_merged_graph_wrong_at_one_batch_size_does_not_pass(size: int) -> None:
    def answer(feeds: Mapping[str, AnyArray]) -> Array:
        logits = merged_answer(feeds)
        return logits + np.float32(0.01) * (len(logits) == size)

    with pytest.raises(ParityError, match="a graph differs"):
        verify_merged(Scripted(answer, bank.LOGITS), MERGED, IMAGES, "a graph")


def test_the_shared_graph_is_asked_for_every_pair_in_mixed_batches(held: Sequence[Adapter]) -> None:
    engine = Scripted(lambda feeds: shared_answer(feeds, tasks_of(feeds, held)))
    reports = verify_shared(engine, with_plain_heads(held), SLOTS, WIDTH, shared_expected(held), IMAGES)
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

    with pytest.raises(ParityError, match=r"the shared graph with task '.+' differs from torch"):
        verify_shared(Scripted(answer), with_plain_heads(held), SLOTS, WIDTH, shared_expected(held), IMAGES)


def test_real_graphs_pass(
    shared_graph: bytes,
    merged_graphs: list[bytes],
    held: Sequence[Adapter],
    expected: list[Array],
    images: Array,
    open_graph: OpenGraph,
) -> None:
    reports = [*verify_shared(open_graph(shared_graph), held, SLOTS, WIDTH, expected, images)]
    reports += [
        verify_merged(open_graph(data), wanted, images, "a graph")
        for data, wanted in zip(merged_graphs, expected, strict=True)
    ]
    for report in reports:
        assert report.max_abs < 1e-5
        assert report.mean_abs <= report.max_abs
        assert report.cosine > 1 - 1e-9
        assert report.top1_agreement == 1
        assert report.provider == "CPUExecutionProvider"


def changed(adapter: Adapter, name: str, by: float) -> Adapter:
    """Return the adapter with one element of one tensor moved."""
    tensor = adapter.tensors[name].copy()
    tensor.flat[0] += np.float32(by)
    return dataclasses.replace(adapter, tensors={**adapter.tensors, name: tensor})


@pytest.mark.parametrize(
    "name", ["blocks.0.adapter.down.weight", "blocks.0.adapter.up.bias", "blocks.2.adapter.up.weight", "head.bias"]
)
def test_one_wrong_number_in_one_tensor_does_not_pass(
    shared_graph: bytes,
    held: Sequence[Adapter],
    expected: list[Array],
    images: Array,
    open_graph: OpenGraph,
    name: str,
) -> None:
    spoiled = [*held[:2], changed(held[2], name, 0.05)]
    with pytest.raises(ParityError, match="task 'digits' differs"):
        verify_shared(open_graph(shared_graph), spoiled, SLOTS, WIDTH, expected, images)


def test_a_merged_graph_of_other_tensors_does_not_pass(
    shared_graph: bytes,
    backbone: Backbone,
    held: Sequence[Adapter],
    expected: list[Array],
    images: Array,
    open_graph: OpenGraph,
) -> None:
    data = merged_of(shared_graph, backbone, changed(held[1], "blocks.2.adapter.up.bias", 0.01))
    with pytest.raises(ParityError, match=r"^a graph differs from torch by up to"):
        verify_merged(open_graph(data), expected[1], images, "a graph")
