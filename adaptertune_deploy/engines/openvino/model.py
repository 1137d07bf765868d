"""What is made of a graph before OpenVINO compiles it.

Where products are in bfloat16 or int8, its tokens are padded (engines.openvino.padding). A shared graph gets the packed
bank (engines.bank.packed). Where it is computed in bfloat16, it also gets

- its bank in bfloat16: from a float32 one OpenVINO would convert the slots of all tasks in every run;
- a last product, of its features with the unit matrix. OpenVINO keeps in float32 what comes behind the last product,
  and follows the residual stream back to the first block for that: then each block converts four times between its
  products in bfloat16 and its sums in float32. A merged graph ends in its head, and does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.engines.bank.packed import PACKED, PackedBank, pack
from adaptertune_deploy.engines.onnx.signature import Signature
from adaptertune_deploy.engines.openvino.library import PrePostProcessor, operators, ov
from adaptertune_deploy.engines.openvino.padding import pad_tokens, pays_here


def bank_of(signature: Signature, where: str) -> PackedBank | None:
    """Return where the tensors of a shared graph's bank go; None for a graph that takes no tasks.

    Raises:
        EngineError: not a bank as export writes it.
        FormatError: the graph does not say after which blocks it adapts.
    """
    if bank.TASK not in signature.inputs:
        return None
    return PackedBank.of(signature.inputs, graph_facts.from_metadata(signature.metadata, where).slots, where)


def read_model(
    core: Any, graph: bytes, layout: PackedBank | None, bfloat16: bool, where: str, quantised: bool = False
) -> Any:
    """Return OpenVINO's model of a graph.

    Args:
        core: openvino.Core.
        graph: the bytes of an ONNX file that engines.onnx.plain_graph accepts.
        layout: of its bank; None where it has none.
        bfloat16: whether the model will be computed in it.
        where: the file, for messages.
        quantised: whether its products are in int8.

    Raises:
        EngineError: a bank that is read otherwise than export has it read.
    """
    model = core.read_model(graph if layout is None else pack(graph, layout, where))
    if (bfloat16 or quantised) and pays_here():
        pad_tokens(model)
    if layout is None or not bfloat16:
        return model
    _end_in_a_product(model)
    steps = PrePostProcessor(model)
    for name in PACKED:
        steps.input(name).tensor().set_element_type(ov.Type.bf16)
    return steps.build()


def _end_in_a_product(model: Any) -> None:
    """Multiply the model's one output by 1."""
    (result,) = model.get_results()
    source = result.input(0).get_source_output()
    width = source.get_partial_shape()[-1].get_length()
    product = operators.matmul(source, operators.constant(np.eye(width, dtype=np.float32)), False, False).output(0)
    names = source.get_names()
    source.set_names(set())
    product.set_names(names)
    result.input(0).replace_source_output(product)
    model.validate_nodes_and_infer_types()
