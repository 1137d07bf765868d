"""engines.openvino.model: the bank in three tensors, and no sum in float32 between two products in bfloat16."""

from __future__ import annotations

import importlib.util
from collections import Counter
from typing import Any

import numpy as np
import pytest

if importlib.util.find_spec("openvino") is None:
    pytest.skip("OpenVINO is an extra of its own", allow_module_level=True)

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.engines.bank.packed import PACKED
from adaptertune_deploy.engines.onnx import signature
from adaptertune_deploy.engines.onnx.signature import Signature
from adaptertune_deploy.engines.openvino import model
from adaptertune_deploy.engines.openvino.compiling import compile_model
from adaptertune_deploy.engines.openvino.library import ov
from tests.engines.golden import golden_graph

needs_bf16 = pytest.mark.skipif(
    "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"),
    reason="this CPU does not multiply bfloat16",
)


def read(graph: bytes, bfloat16: bool = False) -> Any:
    return model.read_model(ov.Core(), graph, model.bank_of(signature.read(graph, "g"), "g"), bfloat16, "g")


def names(made: Any) -> set[str]:
    return {port.get_any_name() for port in made.inputs}


def test_a_shared_graph_takes_the_packed_bank_and_a_merged_one_stays() -> None:
    rows = {bank.IMAGES, bank.IMAGE, bank.TASK}
    assert names(read(golden_graph(None))) == {*rows, *PACKED}
    assert names(read(golden_graph(None), bfloat16=True)) == {*rows, *PACKED}
    assert names(read(golden_graph("birds"))) == {bank.IMAGES}
    assert model.bank_of(signature.read(golden_graph("birds"), "g"), "g") is None


def test_only_the_bank_changes_its_type() -> None:
    made = read(golden_graph(None), bfloat16=True)
    kinds = {port.get_any_name(): port.get_element_type() for port in made.inputs}
    assert {name for name, kind in kinds.items() if kind == ov.Type.bf16} == set(PACKED)
    assert kinds[bank.IMAGES] == ov.Type.f32
    (output,) = made.outputs
    assert output.get_names() == {bank.FEATURES}
    assert output.get_element_type() == ov.Type.f32


def test_the_last_product_is_one_with_1() -> None:
    made = read(golden_graph(None), bfloat16=True)
    product = made.get_results()[0].input(0).get_source_output().get_node()
    assert product.get_type_name() == "MatMul"
    unit = product.input(1).get_source_output().get_node().get_data()
    assert np.array_equal(unit, np.eye(len(unit)))


@needs_bf16
def test_sums_between_products_are_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the last product the residual stream is float32, and every product has a conversion on either side."""

    def conversions() -> int:
        made = read(golden_graph(None), bfloat16=True)
        compiled = compile_model(ov.Core(), made, {"INFERENCE_PRECISION_HINT": "bf16"})
        kinds = Counter(op.get_rt_info()["layerType"].astype(str) for op in compiled.get_runtime_model().get_ops())
        return kinds["Reorder"] + kinds["Convert"]

    ended = conversions()
    with monkeypatch.context() as patch:
        patch.setattr(model, "_end_in_a_product", lambda made: None)
        assert conversions() > ended + 2 * 3  # blocks


def test_a_bank_of_unknown_blocks_is_refused() -> None:
    known = signature.read(golden_graph(None), "g")
    with pytest.raises(FormatError, match=r"^g: says nothing about its task"):
        model.bank_of(Signature(known.inputs, known.outputs, {}), "g")
