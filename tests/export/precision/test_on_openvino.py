"""Which of the graphs that export makes OpenVINO computes as they say, and which it is caught computing otherwise."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import heads
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.precision import TOLERANCES, Precision
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.bank.bank import SlotBank
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.options import EngineOptions
from tests.export.conftest import SLOTS, WIDTH
from tests.export.precision.conftest import InPrecision

if importlib.util.find_spec("openvino") is None:
    pytest.skip("OpenVINO is an extra of its own", allow_module_level=True)


def asked(precision: Precision, **settings: str) -> EngineOptions:
    return EngineOptions("openvino", "cpu", precision, 1, settings)


def multiplies(name: str) -> bool:
    """Return whether OpenVINO says that this CPU multiplies BF16, or FP16."""
    from adaptertune_deploy.engines.openvino.library import ov

    return name in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def answers(data: bytes, options: EngineOptions, held: Sequence[Adapter], images: Array) -> list[Array]:
    """Return each task's logits for all images, asked in one mixed run of the shared graph."""
    engine = open_engine(data, "the shared_graph", options)
    assert engine.precision is options.precision
    ends = [heads.head_of(adapter) for adapter in held]
    bank = SlotBank(engine, SLOTS, WIDTH, len(ends[0].weight))
    handles = [bank.write(adapter) for adapter in held]
    image, task = np.repeat(np.arange(len(images)), len(held)), np.tile(np.arange(len(held)), len(images))
    rows = heads.apply(ends, bank.features(images, image, [handles[place] for place in task.tolist()]), task)
    engine.close()
    return [np.stack(rows[place :: len(held)]) for place in range(len(held))]


@pytest.mark.parametrize("rest", ["fp32", "bf16"])
def test_int8_qdq_is_computed_in_int8(
    rest: str, in_precision: InPrecision, held: Sequence[Adapter], images: Array, expected: list[Array]
) -> None:
    if rest == "bf16" and not multiplies("BF16"):
        pytest.skip("this CPU does not multiply bfloat16")
    data, tolerance = in_precision(Precision.INT8_QDQ), TOLERANCES[Precision.INT8_QDQ]
    found = answers(data, asked(Precision.INT8_QDQ, rest=rest), held, images)
    for logits, wanted in zip(found, expected, strict=True):
        difference, allowed = np.abs(logits - wanted), tolerance.largest(float(np.abs(wanted).max()))
        assert 1e-4 < difference.max() < allowed
        assert difference.mean() < tolerance.mean * allowed


def test_bf16_is_computed_in_bf16(
    in_precision: InPrecision, held: Sequence[Adapter], images: Array, expected: list[Array]
) -> None:
    if not multiplies("BF16"):
        pytest.skip("this CPU does not multiply bfloat16")
    tolerance = TOLERANCES[Precision.BF16]
    for logits, wanted in zip(
        answers(in_precision(Precision.BF16), asked(Precision.BF16), held, images), expected, strict=True
    ):
        assert 1e-4 < np.abs(logits - wanted).max() < tolerance.largest(float(np.abs(wanted).max()))


def test_ranges_measured_in_every_run_are_computed_in_fp32_and_refused(in_precision: InPrecision) -> None:
    with pytest.raises(EngineError, match="OpenVINO computes in fp32, int8 was asked for"):
        open_engine(in_precision(Precision.INT8), "g", asked(Precision.INT8))


def test_fp16_is_computed_in_fp16(
    in_precision: InPrecision, held: Sequence[Adapter], images: Array, expected: list[Array]
) -> None:
    if not multiplies("FP16"):
        pytest.skip("this CPU does not multiply float16")
    tolerance = TOLERANCES[Precision.FP16]
    found = answers(in_precision(Precision.FP16), asked(Precision.FP16), held, images)
    for logits, wanted in zip(found, expected, strict=True):
        assert 1e-6 < np.abs(logits - wanted).max() < tolerance.largest(float(np.abs(wanted).max()))


def test_fp16_is_refused_where_it_is_computed_in_something_else(in_precision: InPrecision) -> None:
    if multiplies("FP16"):
        pytest.skip("this CPU multiplies float16")
    with pytest.raises(EngineError, match=r"OpenVINO computes in (bf16|fp32), fp16 was asked for"):
        open_engine(in_precision(Precision.FP16), "g", asked(Precision.FP16))
