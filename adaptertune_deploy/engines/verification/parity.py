"""Does a graph compute what torch computed? Measured on the engine that will run it; torch itself is not needed."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core.adapter import heads
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.bundle.graph_facts import GraphFacts
from adaptertune_deploy.core.bundle.manifest import GraphRecord, ParityRecord
from adaptertune_deploy.core.errors import ParityError
from adaptertune_deploy.core.precision import TOLERANCES
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines import outputs
from adaptertune_deploy.engines.bank.bank import SlotBank
from adaptertune_deploy.engines.engine import Engine
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.engines.table import fitting
from adaptertune_deploy.engines.verification.contract import check_contract

BATCHES = (1, 2, 7, 32)
# Pairs of a shared graph's comparison, so that the largest batch has no row twice; see asked_pairs.
ROWS = 32
Index = npt.NDArray[np.int64]
Result = TypeVar("Result")


def with_graph(
    data: bytes,
    graph: GraphRecord,
    facts: GraphFacts,
    where: str,
    options: EngineOptions,
    measure: Callable[[Engine], Result],
) -> Result:
    """Open a graph as a server would, check that it is what `graph` and `facts` say, and return what `measure` finds.

    Args:
        data: the graph's bytes.
        graph: its record.
        facts: what it must say about itself.
        where: its file, for messages.
        options: what to run it on; of another precision than the graph's where the engine derives that from it
            (engines.table.fitting).
        measure: called with the opened graph, which is closed afterwards.

    Raises:
        EngineError, FormatError: see engines.opening.open_engine and engines.verification.contract.check_contract.
    """
    with contextlib.closing(open_engine(data, where, fitting(options, graph.precision))) as engine:
        check_contract(engine, facts, where, graph.inputs)
        return measure(engine)


def compare(found: Array, expected: Array, images: int, engine: Engine, graph: GraphRecord, task: str) -> ParityRecord:
    """Return how far a graph's logits lie from torch's.

    Args:
        found: the graph's logits [rows, C].
        expected: torch's logits [rows, C].
        images: number of different images among the rows.
        engine: ran the graph.
        graph: the graph's record.
        task: whose logits they are.

    Raises:
        ParityError: out of tolerance, NaN, or logits of another shape.
    """
    what = graph.words if graph.task else f"{graph.words} with task '{task}'"
    if found.shape != expected.shape:
        raise ParityError(f"{what} gives logits of shape {list(found.shape)}, torch {list(expected.shape)}")
    if not np.isfinite(found).all():
        raise ParityError(
            f"{what} gives NaN or infinite logits on {engine.provider} in {engine.precision}; verify with another "
            "--engine or --device"
        )
    logits, wanted = found.astype(np.float64), expected.astype(np.float64)
    difference = np.abs(logits - wanted)
    tolerance = TOLERANCES[engine.precision]
    allowed = tolerance.largest(float(np.abs(wanted).max()))
    norms = np.linalg.norm(logits, axis=1) * np.linalg.norm(wanted, axis=1)
    cosines = (logits * wanted).sum(axis=1) / np.maximum(norms, 1e-300)
    largest, mean = float(difference.max()), float(difference.mean())
    cosine = float(np.clip(cosines, -1, 1).min())
    agreement = float((found.argmax(axis=1) == expected.argmax(axis=1)).mean())
    allowed_mean = tolerance.mean * allowed
    if not (largest <= allowed and mean <= allowed_mean):
        share = f"same first class in {100 * agreement:.1f} % of {len(found)} rows"
        raise ParityError(
            f"{what} differs from torch by up to {largest:.1e} on {engine.provider} in {engine.precision}, expected at "
            f"most {allowed:.0e} (mean {mean:.1e} of {allowed_mean:.0e}, smallest cosine {cosine:.6f}, {share}); the "
            "bundle was not written, verify with another --engine or --device or take another backbone"
        )
    return ParityRecord(
        graph=graph.file,
        task=task,
        engine=engine.name,
        engine_version=engine.version,
        provider=engine.provider,
        precision=engine.precision,
        images=images,
        max_abs=largest,
        mean_abs=mean,
        cosine=cosine,
        agreement=agreement,
        atol=tolerance.atol,
        rtol=tolerance.rtol,
    )


def verify_merged(
    engine: Engine, graph: GraphRecord, expected: Array, images: Array, batches: Sequence[int] = BATCHES
) -> ParityRecord:
    """Compare a merged graph with torch at every batch size of `batches`.

    Args:
        engine: holds the merged graph.
        graph: the graph's record.
        expected: torch's logits [N, C].
        images: [N, 3, H, W]; repeated where the batches take more than N.
        batches: sizes in which the images are asked about, in turn.

    Raises:
        ParityError: out of tolerance.
    """
    total = max(len(images), sum(batches))
    rows = [np.arange(start, start + size) % len(images) for start, size in _chunks(total, batches)]
    classes = expected.shape[1]
    found = [outputs.run_merged(engine, images[row], classes) for row in rows]
    return compare(np.concatenate(found), expected[np.concatenate(rows)], len(images), engine, graph, str(graph.task))


def asked_pairs(images: int, tasks: int) -> Index:
    """Return the pairs (image, task) [P, 2] that verify_shared asks, every image and every task among them.

    They are all there are up to ROWS pairs. Beyond, each task is asked about at least two images, or where there are
    more tasks than images about one, and one image about several tasks. With 10 tasks and 32 images all pairs would
    take minutes on a small machine and tell nothing more: every number of a task's tensors is part of every one of its
    answers.
    """
    larger, smaller = max(images, tasks), min(images, tasks)
    least = 2 if tasks <= images < 2 * tasks else 1
    turns = range(min(smaller, max(least, ROWS // larger)))
    pairs = [(place, (place + turn) % smaller) for turn in turns for place in range(larger)]
    if images < tasks:
        pairs = [pair[::-1] for pair in pairs]
    elif tasks > 1 == len(turns):
        pairs.append((0, 1))
    return np.array(pairs, dtype=np.int64)


def verify_shared(
    engine: Engine,
    graph: GraphRecord,
    adapters: Sequence[Adapter],
    slots: Sequence[int],
    width: int,
    expected: Sequence[Array],
    images: Array,
) -> tuple[ParityRecord, ...]:
    """Compare the shared graph with torch: the pairs of asked_pairs, tasks mixed in every batch.

    The batch sizes are those of BATCHES, so rows also run alone; at last one image is asked about several tasks at
    once.

    Args:
        engine: holds the shared graph.
        graph: the graph's record.
        adapters: the tasks.
        slots: the graph's slots.
        width: D, channels of the backbone's tokens.
        expected: torch's logits [N, C] for each task; rows that no pair asks for are not looked at.
        images: [N, 3, H, W].

    Returns:
        One record per task.

    Raises:
        ParityError: out of tolerance.
    """
    tasks, ends = len(adapters), [heads.head_of(adapter) for adapter in adapters]
    held = SlotBank(engine, slots, width, len(ends[0].weight))
    held.reserve(adapter.task.adapter.rank for adapter in adapters)
    handles = [held.write(adapter) for adapter in adapters]
    pairs = asked_pairs(len(images), tasks)
    batches = [
        pairs[np.arange(start, start + size) % len(pairs)]
        for start, size in _chunks(max(len(pairs), sum(BATCHES)), BATCHES)
    ]
    batches.append(pairs[pairs[:, 0] == 0])
    found: list[list[Array]] = [[] for _ in adapters]
    wanted: list[list[Array]] = [[] for _ in adapters]
    for batch in batches:
        different, place = np.unique(batch[:, 0], return_inverse=True)  # every image is handed over once
        image = place.reshape(-1).astype(np.int64)
        features = held.features(images[different], image, [handles[task] for task in batch[:, 1].tolist()])
        for (image, task), row in zip(batch.tolist(), heads.apply(ends, features, batch[:, 1]), strict=True):
            found[task].append(row)
            wanted[task].append(expected[task][image])
    counts = [len(np.unique(pairs[pairs[:, 1] == task, 0])) for task in range(tasks)]
    return tuple(
        compare(np.stack(found[task]), np.stack(wanted[task]), counts[task], engine, graph, adapter.task.name)
        for task, adapter in enumerate(adapters)
    )


def _chunks(total: int, batches: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield (start, size) of batches that cover `total` rows, with every size of `batches` in turn; the last is cut."""
    start = 0
    for size in itertools.cycle(batches):
        if start >= total:
            return
        yield start, min(size, total - start)
        start += size
