"""The precisions that a graph can be made in: one file each, with the same one function."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from adaptertune_deploy.core.errors import ExportError
from adaptertune_deploy.core.precision import Precision

if TYPE_CHECKING:
    from adaptertune_deploy.export.onnx_file import OnnxFile
    from adaptertune_deploy.export.precision.ranges import Ranges


class Make(Protocol):
    """Makes a graph of one precision.

    It works on the shared graph as it was traced: a merged graph of the precision is that one with a task's tensors in
    it, so that both forms give the same answers, and a task that is added later needs no calibration.
    """

    def __call__(self, file: OnnxFile, ranges: Ranges) -> OnnxFile:
        """Return the graph in the precision.

        Args:
            file: the shared float32 graph; left as it is.
            ranges: what its values were on calibration images; empty where the precision needs none.
        """


@dataclass(frozen=True)
class Way:
    """One line of the table.

    module: has `make`; imported when it is asked for.
    calibrated: whether it needs ranges that were measured on images.
    """

    module: str
    calibrated: bool = False


PLACE = "adaptertune_deploy.export.precision"
WAYS: Mapping[Precision, Way] = {
    Precision.FP16: Way(f"{PLACE}.fp16", calibrated=True),
    Precision.BF16: Way(f"{PLACE}.bf16"),
    Precision.INT8: Way(f"{PLACE}.int8"),
    Precision.INT8_QDQ: Way(f"{PLACE}.int8_qdq", calibrated=True),
}


def is_calibrated(precision: Precision) -> bool:
    """Return whether a graph of this precision needs ranges that were measured on images."""
    return precision in WAYS and WAYS[precision].calibrated


def graph_in(data: bytes, precision: Precision, ranges: Ranges, what: str) -> bytes:
    """Return the shared graph in a precision; the traced bytes themselves for fp32.

    Args:
        data: the shared graph as it was traced.
        precision: to make.
        ranges: of the traced graph's values.
        what: name of the backbone, for messages.

    Raises:
        ExportError: what comes out isn't valid ONNX, since the precision does not go with one of the operators.
    """
    if precision not in WAYS:
        return data
    import onnx

    from adaptertune_deploy.core.bundle import graph_facts
    from adaptertune_deploy.export import onnx_file

    make: Make = importlib.import_module(WAYS[precision].module).make
    made = make(onnx_file.read(data, f"the graph of {what}"), ranges)
    metadata = {entry.key: entry.value for entry in made.model.metadata_props}
    onnx_file.set_metadata(made.model, {**metadata, graph_facts.PRECISION_KEY: precision.value})
    try:
        onnx.checker.check_model(onnx_file.without_weights(made), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise ExportError(f"{what} can't be written in {precision} ({reason}); choose another --precision") from None
    return onnx_file.write(made, what)
