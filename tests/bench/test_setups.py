from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from adaptertune_deploy.bench import setups as module
from adaptertune_deploy.bench.setups import Setup, engines_here, forms_of, setups
from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.core.bundle.manifest import Manifest, graph_file
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.engines.table import ENGINES, lacks
from tests.bench.golden import GOLDEN


@pytest.fixture
def manifest() -> Manifest:
    return read_manifest(GOLDEN / "bundle")


def with_graphs(manifest: Manifest, *precisions: Precision) -> Manifest:
    """Return a manifest whose shared graph and first merged graph are there in these precisions too."""
    shared, merged = (next(graph for graph in manifest.graphs if graph.form == form) for form in ("shared", "merged"))
    more = []
    for place, precision in enumerate(precisions):
        for graph in (shared, merged):
            sha256 = f"{place + 1}{graph.sha256[1:]}"
            file = graph_file(graph.form, precision, sha256, graph.task)
            more.append(replace(graph, precision=precision, sha256=sha256, file=file))
    return replace(manifest, graphs=(*manifest.graphs, *more))


def found(manifest: Manifest, form: str, *engines: str) -> set[tuple[str, str]]:
    return {(setup.engine, str(setup.precision)) for setup in setups(manifest, form, engines, Precision)}


def test_an_engine_is_given_what_it_runs_and_what_it_makes(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(manifest, "shared", "onnxruntime", "openvino") == {
        ("onnxruntime", "fp32"),
        ("openvino", "fp32"),
        ("openvino", "bf16"),  # made of fp32
    }
    every = with_graphs(manifest, Precision.FP16, Precision.BF16, Precision.INT8, Precision.INT8_QDQ)
    assert {name for engine, name in found(every, "shared", "onnxruntime")} == {"fp32", "fp16", "int8", "int8-qdq"}
    for reason, half in ((None, {"fp16"}), ("OpenVINO runs no fp16 graphs on this CPU", set[str]())):
        monkeypatch.setattr(module, "lacks", lacking(reason))
        assert {name for _, name in found(every, "shared", "openvino")} == {"fp32", "bf16", "int8-qdq", *half}


def lacking(reason: str | None) -> Callable[[EngineOptions, Precision], str | None]:
    """Return the table's `lacks` of a CPU that has products in float16, or none for this reason."""
    return lambda options, graph: reason if graph is Precision.FP16 else lacks(options, graph)


def test_a_merged_precision_counts_where_every_task_has_it(manifest: Manifest) -> None:
    assert found(with_graphs(manifest, Precision.INT8), "merged", "onnxruntime") == {("onnxruntime", "fp32")}
    only = list(setups(manifest, "shared", ["openvino"], [Precision.BF16], "cpu"))
    assert only == [Setup("openvino", Precision.BF16, "cpu")]


def test_the_forms_of_a_bundle(manifest: Manifest) -> None:
    assert forms_of(manifest) == ("shared", "merged")
    without = replace(manifest, graphs=tuple(graph for graph in manifest.graphs if graph.task != "cars"))
    assert forms_of(without) == ("shared",)
    merged = replace(manifest, graphs=tuple(graph for graph in manifest.graphs if graph.task))
    assert forms_of(merged) == ("merged",)
    assert forms_of(replace(manifest, tasks=(), graphs=())) == ()


def test_a_setup_is_what_an_engine_is_asked_for() -> None:
    setup = Setup("openvino", Precision.BF16, "cpu", 2)
    assert setup.options == EngineOptions("openvino", "cpu", Precision.BF16, 2)


def test_engines_that_are_absent_or_lack_the_device_are_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "onnxruntime" in engines_here("cpu")
    assert not {"tensorrt", "tensorrt-rtx"} & set(engines_here("cpu"))
    monkeypatch.setattr(module, "is_installed", lambda name: name == "openvino")
    assert set(engines_here("cpu")) <= {"openvino"}
    assert engines_here("cuda") == ()
    assert set(engines_here()) <= set(ENGINES)
