"""What a model that OpenVINO compiled computes in: how that is asked for, and how it is read back."""

from __future__ import annotations

from collections import Counter
from typing import Any

from adaptertune_deploy.core.errors import EngineError, UsageError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.openvino.settings import OpenVinoSettings
from adaptertune_deploy.engines.options import EngineOptions

HINTS = {Precision.FP32: "f32", Precision.FP16: "f16", Precision.BF16: "bf16"}
COMPUTED = {"f32": Precision.FP32, "f16": Precision.FP16, "bf16": Precision.BF16}
INTEGERS = ("i8", "u8")
QUANTISED = (Precision.INT8, Precision.INT8_QDQ)
PRODUCTS = ("FullyConnected", "MatMul")
ADAPTER = ".adapter."  # part of the names of products that no graph in int8 quantises


def floats(options: EngineOptions, settings: OpenVinoSettings) -> Precision:
    """Return what operators on float32 are computed in: of a graph in int8 all but the products.

    Raises:
        UsageError: settings that contradict the precision.
    """
    quantised = options.precision in QUANTISED
    if settings.rest != "fp32" and not quantised:
        raise UsageError(
            f"-E rest={settings.rest}: only a graph in int8 has a rest; choose --precision {settings.rest}"
        )
    return Precision(settings.rest) if quantised else options.precision


def computed(compiled: Any, said: Precision) -> Precision:
    """Return what most matrix products of a model run in; what its other operators do, where it has none.

    Those of adapters don't count where the graph is in int8: they never are.

    Args:
        compiled: the model.
        said: its graph's precision, which tells one kind of int8 from the other.

    Raises:
        EngineError: in something that has no name here.
    """
    kinds: Counter[str] = Counter()
    for operator in compiled.get_runtime_model().get_ops():
        facts = operator.get_rt_info()
        is_adapter = said in QUANTISED and ADAPTER in operator.get_friendly_name()
        if facts["layerType"].astype(str) in PRODUCTS and not is_adapter:
            kinds[facts["runtimePrecision"].astype(str)] += 1
    kind = kinds.most_common(1)[0][0] if kinds else kept(compiled)
    if kind in INTEGERS:
        return said if said in QUANTISED else Precision.INT8
    if kind not in COMPUTED:
        raise EngineError(f"OpenVINO computes in {kind:.20}, which is none of {', '.join(COMPUTED)}")
    return COMPUTED[kind]


def kept(compiled: Any) -> str:
    """Return the precision that a compiled model keeps for operators on float32, as OpenVINO spells it."""
    return str(compiled.get_property("INFERENCE_PRECISION_HINT").to_string())
