"""Arrays that are fed to a graph, compared with what the graph takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from adaptertune_deploy.core.errors import EngineError, did_you_mean
from adaptertune_deploy.engines.engine import AnyArray, TensorInfo

NAMES_SHOWN = 8


def check_feeds(
    inputs: Mapping[str, TensorInfo], feeds: Mapping[str, AnyArray], resident: Collection[str] = ()
) -> None:
    """Compare arrays with a graph's inputs.

    Args:
        inputs: the graph's inputs by name.
        feeds: the arrays to check.
        resident: inputs that are on the device already.

    Raises:
        EngineError: names the input, what was found and what was expected.
    """
    check_shapes(inputs, {name: array.shape for name, array in feeds.items()})
    for name, array in feeds.items():
        if array.dtype != inputs[name].dtype:
            raise EngineError(f"input '{name}' has dtype {array.dtype}, expected {inputs[name].dtype}")
    missing = [name for name in inputs if name not in feeds and name not in resident]
    if missing:
        raise EngineError(f"input '{missing[0]}' was not given ({len(missing)} missing in all)")


def check_shapes(inputs: Mapping[str, TensorInfo], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare shapes with those of a graph's inputs of these names.

    Raises:
        EngineError: names the input, what was found and what was expected.
    """
    for name, shape in shapes.items():
        if name not in inputs:
            held = [*list(inputs)[:NAMES_SHOWN], *(["..."] if len(inputs) > NAMES_SHOWN else [])]
            raise EngineError(f"the graph has no input '{name}', only {', '.join(held)}.{did_you_mean(name, inputs)}")
        declared = inputs[name].shape
        fits = len(shape) == len(declared) and all(
            isinstance(expected, str) or found == expected for found, expected in zip(shape, declared, strict=True)
        )
        if not fits:
            raise EngineError(f"input '{name}' has shape {list(shape)}, expected {list(declared)}")
