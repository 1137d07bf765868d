"""Is a precision faster here? A few runs of its graph and of the float32 one in turn, on the engine that verified both.

This tells a person about the machine that exports, no more: the one that serves may have other units.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import GraphRecord, Manifest
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.bank.bank import SlotBank
from adaptertune_deploy.engines.engine import Engine
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.engines.table import entry_of, fitting, lacks

RUNS = 9
SLOWER = 1.05  # below, a difference may be chance


@dataclass(frozen=True)
class Pace:
    """Time of one precision against fp32.

    ratio: median of the ratios of runs that followed one another.
    """

    precision: Precision
    ratio: float
    engine: str
    device: str

    @property
    def words(self) -> str:
        """The sentence that a person reads."""
        how = f"{self.engine} on {self.device}, 1 image, {RUNS} runs in turn"
        verdict = ": it is slower here" if self.ratio > SLOWER else ""
        return f"{self.precision} takes {self.ratio:.2f} of fp32's time on this machine ({how}){verdict}"


def paces(folder: Path, manifest: Manifest, adapter: Adapter, image: Array, options: EngineOptions) -> Iterator[Pace]:
    """Yield the pace of every precision of one form that this engine runs; nothing where there is no fp32 graph.

    Args:
        folder: holds the graphs that the manifest names.
        manifest: of the bundle that is exported.
        adapter: the first of its tasks.
        image: float32 [1, 3, H, W].
        options: what to run on.
    """
    form = manifest.graphs[0].form
    alike = (graph for graph in manifest.graphs if graph.form == form and graph.task in (None, adapter.task.name))
    graphs = {graph.precision: graph for graph in alike}
    plain = graphs.pop(Precision.FP32, None)
    asked = [graph for graph in graphs.values() if not lacks(options, graph.precision)]
    if plain is None or not asked:
        return
    with contextlib.ExitStack() as opened:
        usual = _asking(folder, manifest, plain, adapter, image, options, opened)
        for graph in asked:
            with contextlib.ExitStack() as own:
                run = _asking(folder, manifest, graph, adapter, image, options, own)
                yield Pace(graph.precision, _ratio(run, usual), entry_of(options.engine).label, options.device)


def _asking(
    folder: Path,
    manifest: Manifest,
    graph: GraphRecord,
    adapter: Adapter,
    image: Array,
    options: EngineOptions,
    opened: contextlib.ExitStack,
) -> Callable[[], object]:
    """Return what asks a graph about one image; `opened` closes it."""
    engine: Engine = open_engine(bundle.read_graph(folder, graph), graph.file, fitting(options, graph.precision))
    opened.callback(engine.close)
    if graph.task is not None:
        return lambda: engine.run({bank.IMAGES: image})
    held = SlotBank(engine, manifest.slots, manifest.backbone.width, manifest.backbone.features)
    place, row = held.write(adapter), np.zeros(1, dtype=np.int64)
    return lambda: held.features(image, row, [place])


def _ratio(run: Callable[[], object], usual: Callable[[], object]) -> float:
    run()  # the first run of a graph sets it up
    usual()
    return median(_seconds(run) / _seconds(usual) for _ in range(RUNS))


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
