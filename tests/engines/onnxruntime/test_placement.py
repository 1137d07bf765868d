"""engines.onnxruntime.placement: nodes counted per provider, and who does not do the work is refused."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import onnxruntime as ort
import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.onnx import nodes as onnx_nodes
from adaptertune_deploy.engines.onnxruntime.placement import RECORD, Placement, check_placement, placement_of
from adaptertune_deploy.engines.onnxruntime.providers import CPU, CUDA, TENSORRT
from tests.engines.golden import golden_graph
from tests.engines.onnxruntime.sessions import Parts, assignment


def found(parts: Parts) -> Placement:
    session = SimpleNamespace(get_provider_graph_assignment_info=lambda: assignment(parts))
    result = placement_of(session)
    assert result is not None
    return result


def test_a_real_session_tells_where_its_nodes_run() -> None:
    graph, options = golden_graph(None), ort.SessionOptions()
    options.add_session_config_entry(RECORD, "1")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    place = placement_of(ort.InferenceSession(graph, options, providers=[CPU]))
    if place is None:
        pytest.skip(f"ONNX Runtime {ort.__version__} does not tell where nodes run")
    operators = Counter(node.operator for node in onnx_nodes.read(graph).nodes)
    assert place.nodes == {CPU: sum(operators.values())}
    assert Counter(place.products[CPU]) == {name: operators[name] for name in ("Conv", "MatMul")}
    assert check_placement(place, CPU, "g") is None


def test_a_release_that_does_not_tell() -> None:
    assert placement_of(SimpleNamespace()) is None


def test_parts_of_one_provider_are_added_up() -> None:
    place = found([(CUDA, ["MatMul"]), (TENSORRT, ["MatMul", "Add", "Gelu"]), (CUDA, ["Conv"])])
    assert place.nodes == {TENSORRT: 3, CUDA: 2}
    assert place.products == {CUDA: ("MatMul", "Conv"), TENSORRT: ("MatMul",)}
    assert str(place) == f"{TENSORRT} 3, {CUDA} 2"


@pytest.mark.parametrize("provider", [CUDA, TENSORRT])
def test_arithmetic_on_shapes_may_be_the_cpus(provider: str) -> None:
    assert check_placement(found([(provider, ["MatMul", "Add"]), (CPU, ["Shape", "Gather"])]), provider, "g") is None


def test_a_provider_without_a_node_is_refused() -> None:
    place = found([(CPU, ["MatMul", "Add"])])
    with pytest.raises(
        EngineError, match=rf"^g: {CUDA} takes none of the graph's 2 nodes \({CPU} 2\); choose another "
    ):
        check_placement(place, CUDA, "g")
    assert check_placement(found([]), CUDA, "a graph without nodes") is None


def test_products_that_the_cpu_would_compute_are_refused_by_name() -> None:
    place = found([(CUDA, ["MatMul", "Add"]), (CPU, ["MatMulInteger", "Conv", "MatMulInteger"])])
    with pytest.raises(EngineError) as caught:
        check_placement(place, CUDA, "g")
    assert str(caught.value) == (
        f"g: {CUDA} leaves 3 of 4 matrix products to the CPU (Conv, MatMulInteger); choose another --precision, or "
        "--device cpu"
    )


def test_products_that_another_gpu_provider_computes_are_said() -> None:
    place = found([(TENSORRT, ["Add"]), (CUDA, ["MatMul", "Conv"])])
    assert check_placement(place, TENSORRT, "g") == f"g: of 2 matrix products {TENSORRT} leaves 2 to {CUDA}"
