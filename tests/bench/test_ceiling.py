from __future__ import annotations

import contextlib

import numpy as np
import pytest

from adaptertune_deploy.bench import ceiling
from adaptertune_deploy.bench.ceiling import PRODUCTS, measure_ceiling, product_graph
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.onnx.plain_graph import check_plain
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.options import EngineOptions
from tests.bench.planted import ticking

SIDE = 64
ON_ORT = (Precision.FP32, Precision.FP16, Precision.INT8, Precision.INT8_QDQ)


def expected() -> np.ndarray:
    """Return what the graph computes, in float64."""
    draw = np.random.default_rng(0)
    x, weight = (draw.normal(size=(SIDE, SIDE)).astype(np.float32).astype(np.float64) for _ in range(2))
    for _ in range(PRODUCTS):
        x = x @ (weight / 8)
    return x.mean(axis=0)


@pytest.mark.parametrize("precision", Precision)
def test_the_graph_is_plain_and_valid_in_every_precision(precision: Precision) -> None:
    onnx = pytest.importorskip("onnx")
    data = product_graph(precision, SIDE)
    check_plain(data, "product")
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)


@pytest.mark.parametrize("precision", ON_ORT)
def test_it_multiplies(precision: Precision) -> None:
    options = EngineOptions(device="cpu", precision=precision)
    with contextlib.closing(open_engine(product_graph(precision, SIDE), "product", options)) as engine:
        found = engine.run({ceiling.SCALE: np.ones(1, dtype=np.float32)})[ceiling.ANSWER]
    assert found.shape == (1, SIDE)
    wanted = expected()
    error = np.abs(found[0] - wanted).max() / np.abs(wanted).max()
    assert error < {Precision.FP32: 1e-5, Precision.FP16: 1e-2}.get(precision, 0.15)


def test_the_limit_is_that_of_the_fastest_run() -> None:
    options = EngineOptions(device="cpu")
    found = measure_ceiling(options, lambda rounds: rounds == 3, ticking(0.5), SIDE)
    assert found == pytest.approx(2 * SIDE**3 * PRODUCTS / 0.5)


def test_openvino_takes_it_too() -> None:
    pytest.importorskip("openvino")
    options = EngineOptions("openvino", "cpu", Precision.INT8_QDQ)
    assert measure_ceiling(options, lambda rounds: rounds == 1, ticking(1.0), SIDE) > 0
