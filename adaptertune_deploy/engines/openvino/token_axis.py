"""Where the tokens are in the tensors of an OpenVINO model: operator by operator, from the axis of what goes in.

A rule gives the axis of what comes out, None where no tokens do. It gives nothing for an operator whose answers more
tokens would change, or that is not known here. Operators are those of OpenVINO's opsets, by their type's name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Axes = Sequence["int | None"]
# Takes a node, the axis of the tokens in each of its inputs and how many there are; gives that of its outputs.
Rule = Callable[[Any, Axes, int], "Axes | None"]


def constant(output: Any) -> npt.NDArray[np.int64] | None:
    """Return the integers of an output that is the same in every run, None for any other."""
    node = output.get_node()
    kind = node.get_type_name()
    if kind == "Constant":
        data = np.asarray(node.get_data())
        return data.astype(np.int64) if np.issubdtype(data.dtype, np.integer) else None
    if kind == "Range":
        bounds = [constant(each.get_source_output()) for each in node.inputs()]
        return np.arange(*(int(each) for each in bounds)) if all(each is not None for each in bounds) else None  # type: ignore[arg-type]
    return None


def axis_after(node: Any, axes: Axes, tokens: int) -> Axes | None:
    """Return the axis of the tokens in each output of a node, None where more tokens would change its answers.

    Args:
        node: of an OpenVINO model.
        axes: of the tokens in each input, None for an input without.
        tokens: how many there are.
    """
    rule = RULES.get(node.get_type_name())
    return None if rule is None else rule(node, axes, tokens)


def _shape(output: Any) -> list[int | None]:
    return [None if size.is_dynamic else size.get_length() for size in output.get_partial_shape()]


def _source(node: Any, place: int) -> Any:
    return node.input(place).get_source_output()


def _value(node: Any, place: int) -> npt.NDArray[np.int64] | None:
    return constant(_source(node, place)) if place < len(node.inputs()) else None


def _elementwise(node: Any, axes: Axes, tokens: int) -> Axes | None:
    """Every operand has the tokens in the same place, counted from the last axis, or nothing of a size there."""
    behind = {len(_shape(_source(node, place))) - axis for place, axis in enumerate(axes) if axis is not None}
    if len(behind) != 1:
        return None
    (place_from_last,) = behind
    for place, axis in enumerate(axes):
        shape = _shape(_source(node, place))
        if axis is None and len(shape) >= place_from_last and shape[-place_from_last] != 1:
            return None
    return [len(_shape(node.output(0))) - place_from_last]


def _along_another_axis(node: Any, axes: Axes, tokens: int) -> Axes | None:
    """Softmax: of each token by itself."""
    axis = node.get_attributes()["axis"] % len(_shape(_source(node, 0)))
    return None if axis == axes[0] else [axes[0]]


def _normalisation(node: Any, axes: Axes, tokens: int) -> Axes | None:
    over, rank = _value(node, 1), len(_shape(_source(node, 0)))
    if over is None or axes[0] in {int(axis) % rank for axis in over.reshape(-1)}:
        return None
    return [axes[0]]


def _product(node: Any, axes: Axes, tokens: int) -> Axes | None:
    """The tokens are rows of the first matrix, and the second one has none."""
    attributes, shape = node.get_attributes(), _shape(_source(node, 0))
    if axes[1] is not None or axes[0] is None or len(shape) < 2:
        return None
    row = len(shape) - (1 if attributes["transpose_a"] else 2)
    return [len(_shape(node.output(0))) - 2] if axes[0] == row else None


def _transposed(node: Any, axes: Axes, tokens: int) -> Axes | None:
    order = _value(node, 1)
    return None if order is None else [int(np.flatnonzero(order.reshape(-1) == axes[0])[0])]


def _reshaped(node: Any, axes: Axes, tokens: int) -> Axes | None:
    """The tokens stay an axis of their own where as many values lie behind them as before."""
    given, made = _shape(_source(node, 0)), _shape(node.output(0))
    wanted = _value(node, 1)
    if axes[0] is None or wanted is None:
        return None
    behind = _size(given[axes[0] + 1 :])
    places = [place for place, size in enumerate(made) if size == tokens and _size(made[place + 1 :]) == behind]
    if behind is None or len(places) != 1 or wanted.reshape(-1)[places[0]] != tokens:
        return None
    return places


def _size(shape: Sequence[int | None]) -> int | None:
    return None if None in shape else math.prod(size for size in shape if size is not None)


def _gathered(node: Any, axes: Axes, tokens: int) -> Axes | None:
    """Of another axis, or some of the tokens that there were."""
    found, indices = _value(node, 2), _shape(_source(node, 1))
    if found is None or axes[0] is None or axes[1] is not None or node.get_attributes().get("batch_dims", 0):
        return None
    axis = int(found.item()) % len(_shape(_source(node, 0)))
    if axis == axes[0]:
        taken = _value(node, 1)
        return [None] if taken is not None and taken.min() >= 0 and taken.max() < tokens else None
    return [axes[0] + (len(indices) - 1 if axis < axes[0] else 0)]


def _squeezed(node: Any, axes: Axes, tokens: int) -> Axes | None:
    gone, rank = _value(node, 1), len(_shape(_source(node, 0)))
    if gone is None or axes[0] is None:
        return None
    return [axes[0] - sum(int(axis) % rank < axes[0] for axis in gone.reshape(-1))]


def _split(node: Any, axes: Axes, tokens: int) -> Axes | None:
    along = _value(node, 1)
    if along is None or int(along.item()) % len(_shape(_source(node, 0))) == axes[0]:
        return None
    return [axes[0]] * len(node.outputs())


ELEMENTWISE = (
    *("Add", "Subtract", "Multiply", "Divide", "Power", "Maximum", "Minimum", "FakeQuantize", "Convert"),
    *("Gelu", "Erf", "Sigmoid", "Tanh", "Relu", "Swish", "HSwish", "HSigmoid", "Exp", "Sqrt", "Negative", "Clamp"),
)
RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    "Softmax": _along_another_axis,
    "MVN": _normalisation,
    "MatMul": _product,
    "Transpose": _transposed,
    "Reshape": _reshaped,
    "Gather": _gathered,
    "Squeeze": _squeezed,
    "Split": _split,
    "VariadicSplit": _split,
}
