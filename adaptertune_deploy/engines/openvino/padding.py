"""A token more or two for OpenVINO's products of one image.

OpenVINO's products in bfloat16 and int8 divide their rows into blocks of one size, and the rows of one image are its
tokens: 197, a prime number, take 350 us where 198 take 293 (docs/decisions/0047-tokens-are-padded-on-openvino.md). So
tokens of zeros follow the image's own. Nothing looks at them: attention's weights for them are zero, and whatever else
may not see them, such as an average over the tokens, gets what lies before them.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adaptertune_deploy.core import cores
from adaptertune_deploy.core.processor import processor
from adaptertune_deploy.engines.openvino.library import operators
from adaptertune_deploy.engines.openvino.token_axis import axis_after, constant

# Numbers of rows with a divisor among these went well where they were measured (benchmarks/precision/padding.py).
BLOCKS = range(33, 67)
NEVER = -1e4  # a score whose weight is zero, in float16 too
MOST = 4  # more tokens than these cost what they save
LARGEST = 300  # from there on the last block is a small part of the work


@dataclass
class _Plan:
    """What changes in a model.

    masked: inputs of Softmax whose last values are those of padding.
    cut: inputs that end before the padding, with the axis of the tokens there.
    shapes: inputs that name the number of tokens in a shape, with the shape's place of it.
    unpadded: whether a product of all tokens would be left without padding.
    """

    masked: list[Any] = field(default_factory=list)
    cut: list[tuple[Any, int]] = field(default_factory=list)
    shapes: list[tuple[Any, int]] = field(default_factory=list)
    unpadded: bool = False


@functools.cache
def pays_here() -> bool:
    """Whether padding gains anything on this processor: on one with AMX it does not."""
    found = processor(cores.read_small)
    return found is None or not any(flag.startswith("amx") for flag in found.flags)


def tokens_more(tokens: int) -> int:
    """Return how many tokens of padding make products of an image faster; 0 where none do."""
    for more in range(MOST + 1 if tokens <= LARGEST else 0):
        if any((tokens + more) % rows == 0 for rows in BLOCKS):
            return more
    return 0


def pad_tokens(model: Any) -> int:
    """Pad the tokens of a Vision Transformer where that makes its products faster, and return by how many.

    Args:
        model: of OpenVINO; it is changed in place, and left alone where not every product of all tokens would gain.
    """
    start = _embedded(model)
    if start is None:
        return 0
    tokens: int = start.get_partial_shape()[1].get_length()
    more = tokens_more(tokens)
    if not more:
        return 0
    plan = _planned(model, start, tokens)
    if plan.unpadded:
        return 0
    _cut(plan, tokens)
    _resize(plan, more)
    after = [port for port in start.get_target_inputs() if port.get_node().get_type_name() != "Slice"]
    nothing = operators.constant(0, start.get_element_type())
    padded = operators.pad(start, np.array([0, 0, 0]), np.array([0, more, 0]), "constant", nothing).output(0)
    for port in after:
        port.replace_source_output(padded)
    model.validate_nodes_and_infer_types()
    _mask(plan, more)
    model.validate_nodes_and_infer_types()
    return more


def _cut(plan: _Plan, tokens: int) -> None:
    for port, axis in plan.cut:
        ends = [np.array([value], np.int64) for value in (0, tokens, 1, axis)]
        port.replace_source_output(operators.slice(port.get_source_output(), *ends).output(0))


def _resize(plan: _Plan, more: int) -> None:
    for port, place in plan.shapes:
        shape = constant(port.get_source_output())
        assert shape is not None
        shape = shape.copy()
        shape[place] += more
        port.replace_source_output(operators.constant(shape).output(0))


def _mask(plan: _Plan, more: int) -> None:
    """Choose between scores and NEVER: a mask that is added is wrong in OpenVINO's fused attention in bfloat16."""
    for port in plan.masked:
        scores = port.get_source_output()
        shape = scores.get_partial_shape()
        behind = np.zeros((1,) * (len(shape) - 1) + (shape[-1].get_length(),), bool)
        behind[..., -more:] = True
        never = operators.constant(NEVER, scores.get_element_type())
        port.replace_source_output(operators.select(operators.constant(behind), never, scores).output(0))


def _embedded(model: Any) -> Any:
    """Return the tokens [B, tokens, width] with their positions added, None where no such sum is found."""
    found = None
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Add" and _is_position(node):
            found = node.output(0)
    return found


def _is_position(node: Any) -> bool:
    shape = node.get_output_partial_shape(0)
    if shape.rank.is_dynamic or len(shape) != 3 or shape[1].is_dynamic or shape[1].get_length() == 1:
        return False
    for port in node.inputs():
        source = port.get_source_output()
        rows = source.get_partial_shape()
        if source.get_node().get_type_name() == "Constant" and len(rows) > 1 and rows[-2] == shape[1]:
            return True
    return False


def _planned(model: Any, start: Any, tokens: int) -> _Plan:
    """Follow the tokens from where they are padded to where they are told apart."""
    plan, axes = _Plan(), {_key(start): 1}
    keys: dict[tuple[str, int], tuple[Any, tuple[Any, int]]] = {}  # attention's weights -> its scores; its keys
    for node in model.get_ordered_ops():
        given = [axes.get(_key(port.get_source_output())) for port in node.inputs()]
        if all(axis is None for axis in given):
            plan.unpadded |= len(axes) > 1 and _multiplies_all(node, tokens)
            continue
        plan.unpadded |= node.get_type_name() == "Result"
        if node.get_type_name() == "MatMul" and given[1] is not None:
            second, given[1] = (node.input(1), given[1]), None
            sums = _sums_over(*second)
            softmax = None if sums else _softmax_behind(node)
            scores = keys.pop(_key(node.input(0).get_source_output()), None) if sums else None
            if softmax is not None:
                keys[_key(softmax.output(0))] = softmax.input(0), second
            elif scores is not None:
                plan.masked.append(scores[0])
            else:
                plan.cut.append(second)
        found = axis_after(node, given, tokens) if given != [None, None] else [None]
        if found is None:
            plan.cut += [(port, axis) for port, axis in zip(node.inputs(), given, strict=True) if axis is not None]
            continue
        if node.get_type_name() == "Reshape" and found[0] is not None:
            plan.shapes.append((node.input(1), found[0]))
        axes |= {_key(output): axis for output, axis in zip(node.outputs(), found, strict=True) if axis is not None}
    plan.cut += [second for _, second in keys.values()]  # whose weights no sum over values took
    return plan


def _sums_over(matrix: Any, axis: int) -> bool:
    """Whether a product sums over this axis of its second matrix."""
    rank = len(matrix.get_partial_shape())
    return axis == rank - (1 if matrix.get_node().get_attributes()["transpose_b"] else 2)


def _softmax_behind(node: Any) -> Any:
    """Return the Softmax over rows that alone takes a product and hands it to one product alone; else None."""
    taken = [port.get_node() for port in node.output(0).get_target_inputs()]
    if len(taken) != 1 or taken[0].get_type_name() != "Softmax":
        return None
    (softmax,) = taken
    rank = len(softmax.get_output_partial_shape(0))
    behind = list(softmax.output(0).get_target_inputs())
    if softmax.get_attributes()["axis"] % rank != rank - 1 or len(behind) != 1 or behind[0].get_index() != 0:
        return None
    product = behind[0].get_node()
    is_product = product.get_type_name() == "MatMul" and not product.get_attributes()["transpose_a"]
    return softmax if is_product else None


def _multiplies_all(node: Any, tokens: int) -> bool:
    """Whether a node is a product of all tokens."""
    if node.get_type_name() != "MatMul":
        return False
    shape = node.input(0).get_source_output().get_partial_shape()
    return len(shape) > 2 and bool(shape[-2] == tokens)


def _key(output: Any) -> tuple[str, int]:
    return output.get_node().get_name(), output.get_index()
