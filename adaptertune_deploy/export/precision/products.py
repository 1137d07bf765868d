"""The products that int8 is worth: of computed tokens with a constant weight [K, N]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.export.onnx_file import AnyArray, OnnxFile, array

LEVELS = 127  # the largest magnitude of an int8 value; -128 would have no counterpart
LEAST = 1024  # elements of a weight: less is not worth the conversions


@dataclass(frozen=True)
class Products:
    """A graph's products with constant weights.

    weights: a MatMul's output -> the initialiser [K, N] that it multiplies with.
    only: the initialisers that nothing else reads.
    """

    weights: Mapping[str, str]
    only: frozenset[str]


@dataclass(frozen=True, eq=False)
class Weight:
    """A quantised weight.

    values: int8 [K, N].
    scale: float32 [N]; values * scale is the weight.
    """

    name: str
    values: AnyArray
    scale_name: str
    scale: Array


def products(file: OnnxFile) -> Products:
    """Return the products of a float32 graph. A shared graph's adapters are inputs, so they are not among them."""
    found: dict[str, str] = {}
    elsewhere: set[str] = set()
    for node in file.model.graph.node:
        weight = node.input[1] if node.op_type == "MatMul" else ""
        held = file.tensors.get(weight)
        tensor = None if held is None else array(held)
        if tensor is not None and tensor.ndim == 2 and tensor.dtype == np.float32 and tensor.size >= LEAST:
            found[node.output[0]] = weight
            elsewhere |= {node.input[0]}
        else:
            elsewhere |= {*node.input}
    return Products(found, frozenset(found.values()) - elsewhere)


def quantised(name: str, weight: Array) -> Weight:
    """Return a weight in int8, symmetric, with one scale for each output channel.

    Args:
        name: of the weight.
        weight: float32 [K, N].
    """
    largest = np.abs(weight).max(axis=0)
    scale = (np.where(largest > 0, largest, 1) / LEVELS).astype(np.float32)
    values = np.clip(np.rint(weight / scale), -LEVELS, LEVELS).astype(np.int8)
    return Weight(f"{name}.int8", values, f"{name}.scale", scale)
