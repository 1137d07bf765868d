"""Does a graph compute what torch computes? Measured on real images, on the engine that will run it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from adaptertune_deploy.core import bank, heads
from adaptertune_deploy.core.adapter import Adapter
from adaptertune_deploy.core.bundle import ParityReport
from adaptertune_deploy.core.errors import ExportError, ParityError
from adaptertune_deploy.core.tensors import Array
from adaptertune_deploy.engines.bank import SlotBank
from adaptertune_deploy.engines.engine import Engine
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.backbone import Backbone

# Largest |difference| of fp32 logits: ATOL + RTOL * the largest |logit|. Rounding errors grow with the logits: engines
# sum in other orders, each in 24 bits of mantissa.
ATOL, RTOL = 1e-4, 5e-6
BATCHES = (1, 2, 7, 32)
Index = npt.NDArray[np.int64]


def torch_logits(backbone: Backbone, adapter: Adapter, images: Array) -> Array:
    """Return torch's logits [N, C] for images [N, 3, H, W], float32 on the CPU: what every graph must reproduce.

    Raises:
        ExportError: they are not finite.
    """
    network = AdaptedViT(backbone, adapter.task).eval()
    network.load(adapter)
    parts = []
    with torch.no_grad():
        for start in range(0, len(images), 8):
            parts.append(network(torch.from_numpy(images[start : start + 8])).numpy())
    logits = np.concatenate(parts)
    if not np.isfinite(logits).all():
        raise ExportError(
            f"task '{adapter.task.name}': torch itself gives NaN or infinite logits on {backbone.spec.name}; train it "
            "again, or give other --weights"
        )
    return logits


def compare(found: Array, expected: Array, images: int, provider: str, what: str) -> ParityReport:
    """Return how far a graph's logits lie from torch's.

    Args:
        found: the graph's logits [rows, C].
        expected: torch's logits [rows, C].
        images: number of different images among the rows.
        provider: the execution provider that ran the graph.
        what: name of the graph, for messages.

    Raises:
        ParityError: out of tolerance, NaN, or logits of another shape.
    """
    if found.shape != expected.shape:
        raise ParityError(f"{what} gives logits of shape {list(found.shape)}, torch {list(expected.shape)}")
    if not np.isfinite(found).all():
        raise ParityError(f"{what} gives NaN or infinite logits on {provider}; verify with another --provider")
    logits, wanted = found.astype(np.float64), expected.astype(np.float64)
    difference = np.abs(logits - wanted)
    tolerance = ATOL + RTOL * float(np.abs(wanted).max())
    norms = np.linalg.norm(logits, axis=1) * np.linalg.norm(wanted, axis=1)
    cosines = (logits * wanted).sum(axis=1) / np.maximum(norms, 1e-300)
    report = ParityReport(
        images=images,
        max_abs=float(difference.max()),
        mean_abs=float(difference.mean()),
        cosine=float(np.minimum(cosines, 1).min()),
        top1_agreement=float((found.argmax(axis=1) == expected.argmax(axis=1)).mean()),
        tolerance=tolerance,
        provider=provider,
    )
    if report.max_abs > tolerance:
        raise ParityError(
            f"{what} differs from torch by up to {report.max_abs:.1e} on {provider}, expected at most {tolerance:.0e} "
            f"(mean {report.mean_abs:.1e}, smallest cosine {report.cosine:.6f}, same first class in "
            f"{100 * report.top1_agreement:.1f} % of {len(found)} rows); the bundle was not written, verify with "
            "another --provider or take another backbone"
        )
    return report


def verify_merged(engine: Engine, expected: Array, images: Array, what: str) -> ParityReport:
    """Compare a merged graph with torch at every batch size of BATCHES.

    Args:
        engine: holds the merged graph.
        expected: torch's logits [N, C].
        images: [N, 3, H, W]; repeated where a batch is larger than N.
        what: name of the graph, for messages.

    Raises:
        ParityError: out of tolerance.
    """
    rows = [np.arange(start, start + size) % len(images) for start, size in _chunks(max(len(images), sum(BATCHES)))]
    found = [engine.run({bank.IMAGES: images[chunk]})[bank.LOGITS] for chunk in rows]
    return compare(np.concatenate(found), expected[np.concatenate(rows)], len(images), engine.provider, what)


def verify_shared(
    engine: Engine,
    adapters: Sequence[Adapter],
    slots: Sequence[int],
    width: int,
    expected: Sequence[Array],
    images: Array,
) -> tuple[ParityReport, ...]:
    """Compare the shared graph with torch: every task on every image, tasks mixed in every batch.

    The batch sizes are those of BATCHES, so rows also run alone; at last one image is asked about every task at once.

    Args:
        engine: holds the shared graph.
        adapters: the tasks.
        slots: the graph's slots.
        width: D, channels of the backbone's tokens.
        expected: torch's logits [N, C] for each task.
        images: [N, 3, H, W].

    Returns:
        One report per task.

    Raises:
        ParityError: out of tolerance.
    """
    tasks, ends = len(adapters), [heads.head_of(adapter) for adapter in adapters]
    held = SlotBank(engine, slots, width, len(ends[0].weight))
    held.reserve(adapter.task.adapter.rank for adapter in adapters)
    handles = [held.write(adapter) for adapter in adapters]
    pairs = np.array(
        [(image, (image + turn) % tasks) for turn in range(tasks) for image in range(len(images))], dtype=np.int64
    )
    batches = [
        pairs[np.arange(start, start + size) % len(pairs)] for start, size in _chunks(max(len(pairs), sum(BATCHES)))
    ]
    batches.append(np.array([(0, task) for task in range(tasks)], dtype=np.int64))
    found: list[list[Array]] = [[] for _ in adapters]
    wanted: list[list[Array]] = [[] for _ in adapters]
    for batch in batches:
        different, place = np.unique(batch[:, 0], return_inverse=True)  # every image is handed over once
        image = place.reshape(-1).astype(np.int64)
        features = held.features(images[different], image, [handles[task] for task in batch[:, 1].tolist()])
        for (image, task), row in zip(batch.tolist(), heads.apply(ends, features, batch[:, 1]), strict=True):
            found[task].append(row)
            wanted[task].append(expected[task][image])
    return tuple(
        compare(
            np.stack(found[task]),
            np.stack(wanted[task]),
            len(images),
            engine.provider,
            f"the shared graph with task '{adapter.task.name}'",
        )
        for task, adapter in enumerate(adapters)
    )


def _chunks(total: int) -> Iterator[tuple[int, int]]:
    """Yield (start, size) of batches that cover `total` rows, with every size of BATCHES in turn."""
    start = 0
    for size in itertools.cycle(BATCHES):
        if start >= total:
            return
        yield start, size
        start += size
