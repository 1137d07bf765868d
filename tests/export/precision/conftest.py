"""What every precision is made of here: the small backbone's shared graph, and ranges that were measured in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.export import onnx_file
from adaptertune_deploy.export.onnx_file import OnnxFile
from adaptertune_deploy.export.precision.ranges import Ranges, measure
from adaptertune_deploy.export.precision.table import graph_in
from tests.export.conftest import SLOTS, WIDTH

InPrecision = Callable[[Precision], bytes]


@pytest.fixture(scope="session")
def calibrating(images: Array) -> Array:
    """Other images than those that are asked about."""
    return np.random.default_rng(7).normal(size=(6, *images.shape[1:])).astype(np.float32)


@pytest.fixture(scope="session")
def ranges(shared_graph: bytes, held: Sequence[Adapter], calibrating: Array) -> Ranges:
    return measure(shared_graph, held, SLOTS, WIDTH, calibrating, [0, 1, 2, 0, 1, 2])


@pytest.fixture(scope="session")
def in_precision(shared_graph: bytes, ranges: Ranges) -> InPrecision:
    return lambda precision: graph_in(shared_graph, precision, ranges, "a backbone")


@pytest.fixture
def file(shared_graph: bytes) -> OnnxFile:
    return onnx_file.read(shared_graph, "the graph")
