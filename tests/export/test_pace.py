"""export.pace: the two graphs run in turn, and what is said follows from the ratio alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import Manifest
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.options import ON_CPU
from adaptertune_deploy.engines.verification.contract import input_types
from adaptertune_deploy.export import pace as module
from adaptertune_deploy.export.pace import Pace, paces
from adaptertune_deploy.export.precision.ranges import NONE
from adaptertune_deploy.export.precision.table import graph_in
from adaptertune_deploy.model.backbone import Backbone
from tests.builders import write_bundle
from tests.export.conftest import SLOTS, merged_of


def manifest_with(
    folder: Path, backbone: Backbone, adapter: Adapter, graphs: dict[Precision, bytes], task: str | None = None
) -> Manifest:
    """Write a bundle of these graphs, all of one form."""
    made = write_bundle(folder, [adapter], SLOTS, backbone.spec, backbone.preprocess)
    records = []
    for precision, data in graphs.items():
        inputs = input_types(bundle.facts_of(made, task), precision)
        form = "merged" if task else "shared"
        record = bundle.record_graph(data, form, inputs, opset=20, ir_version=10, task=task, precision=precision)
        files.write_bytes(folder / record.file, data)
        records.append(record)
    return replace(made, graphs=tuple(records))


def test_every_precision_that_the_engine_runs_is_timed_against_fp32(
    tmp_path: Path, backbone: Backbone, held: Sequence[Adapter], images: Array, shared_graph: bytes
) -> None:
    asked = (Precision.FP32, Precision.FP16, Precision.BF16)
    graphs = {precision: graph_in(shared_graph, precision, NONE, "a backbone") for precision in asked}
    manifest = manifest_with(tmp_path, backbone, held[0], graphs)
    (found,) = paces(tmp_path, manifest, held[0], images[:1], ON_CPU)
    assert (found.precision, found.engine, found.device) == (Precision.FP16, "ONNX Runtime", "cpu")
    assert found.ratio > 0
    alone = replace(manifest, graphs=manifest.graphs[1:])
    assert list(paces(tmp_path, alone, held[0], images[:1], ON_CPU)) == []


def test_merged_graphs_are_timed_where_there_is_no_shared_one(
    tmp_path: Path, backbone: Backbone, held: Sequence[Adapter], images: Array, shared_graph: bytes
) -> None:
    shared = {p: graph_in(shared_graph, p, NONE, "a backbone") for p in (Precision.FP32, Precision.INT8)}
    graphs = {precision: merged_of(data, backbone, held[0]) for precision, data in shared.items()}
    manifest = manifest_with(tmp_path, backbone, held[0], graphs, held[0].task.name)
    assert [found.precision for found in paces(tmp_path, manifest, held[0], images[:1], ON_CPU)] == [Precision.INT8]


def test_runs_take_turns_and_the_median_of_their_ratios_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def clock() -> Iterator[float]:
        now = 0.0
        for ratio in (0.5, 9.0, 0.4, 0.5, 0.6, 0.5, 0.1, 0.7, 0.5):  # start and end of one run, then of the other
            yield from (now, now + ratio, now + ratio, now + ratio + 1.0)
            now += 10.0

    ticks = clock()
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(ticks))
    assert np.isclose(module._ratio(lambda: ran.append("own"), lambda: ran.append("usual")), 0.5)
    assert ran == ["own", "usual"] * (1 + module.RUNS)


@pytest.mark.parametrize(("ratio", "end"), [(0.5, ""), (1.04, ""), (1.2, ": it is slower here")])
def test_what_is_slower_is_said_plainly(ratio: float, end: str) -> None:
    words = Pace(Precision.FP16, ratio, "ONNX Runtime", "cpu").words
    how = "(ONNX Runtime on cpu, 1 image, 9 runs in turn)"
    assert words == f"fp16 takes {ratio:.2f} of fp32's time on this machine {how}{end}"
