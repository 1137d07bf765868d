"""Refuse ONNX files that atd export would not write, before an engine reads them.

An ONNX file can name other files to read tensors from, loop without end, and call operators that only one engine has.
Our graphs do none of that, so a graph is run only when it holds its tensors itself and consists of listed operators of
the ONNX standard, without control flow and without functions. That bounds the number of steps of a run, not its memory:
a few operators can still ask for a tensor of any size.

The `onnx` package is not on the device, hence this walk over the wire format. Field numbers:
github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.onnx.wire_format import LENGTH_DELIMITED, fields

# What export makes of timm's Vision Transformers, and what quantised or cast variants of such graphs add.
_OPERATORS = (
    "Abs Add AveragePool BatchNormalization Cast Clip Concat Constant Conv ConvInteger Cos DequantizeLinear Div "
    "DynamicQuantizeLinear Erf Exp Expand Flatten Gather GatherND Gelu Gemm GlobalAveragePool GroupNormalization "
    "Identity InstanceNormalization LayerNormalization LpNormalization MatMul MatMulInteger Max MaxPool Min Mul "
    "Neg Pad Pow QuantizeLinear Reciprocal ReduceL2 ReduceMax ReduceMean ReduceSum Relu Reshape Resize Shape "
    "Sigmoid Sin Slice Softmax Split Sqrt Squeeze Sub Tanh Tile Transpose Unsqueeze Where"
)
OPERATORS = frozenset(_OPERATORS.split())
DOMAINS = ("", "ai.onnx")

# message -> field number -> the message that the field holds; fields that can't lead to a node or tensor are left out.
FIELDS: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {5: "TensorProto", 10: "TensorProto"},
    "TensorProto": {},
}
# message -> field number -> what a graph must not hold
REFUSED: dict[str, dict[int, str]] = {
    "ModelProto": {20: "a training graph", 25: "a function"},
    "GraphProto": {15: "a sparse tensor"},
    "NodeProto": {},
    "AttributeProto": {6: "a sub-graph", 11: "a sub-graph", 22: "a sparse tensor", 23: "a sparse tensor"},
    "TensorProto": {},
}
NODE, OPERATOR, DOMAIN = "NodeProto", 4, 7
TENSOR, EXTERNAL_DATA, DATA_LOCATION = "TensorProto", 13, 14
MAX_FIELDS = 300_000  # ten times what the deepest Vision Transformers need; reading so many takes about a second


def check_plain(data: bytes, where: str) -> None:
    """Raise EngineError unless `data` is an ONNX file that holds all of its tensors, and listed operators only.

    Args:
        data: the file's bytes.
        where: the file, for messages.

    Raises:
        EngineError: not a protobuf, far too many fields, tensors in other files, or anything that a graph of
            atd export does not have.
    """
    try:
        complaint = _complaint(data) if data else "is empty; run atd export again"
    except ValueError:
        complaint = "not an ONNX file, or a damaged one; run atd export again"
    if complaint:
        raise EngineError(f"{where}: {complaint}")


def _complaint(data: bytes) -> str | None:
    """Return what is wrong with a model, or None.

    Raises:
        ValueError: the bytes are no protobuf message.
    """
    left = MAX_FIELDS
    pending = [("ModelProto", 0, len(data))]
    while pending:
        message, start, end = pending.pop()
        children, refused = FIELDS[message], REFUSED[message]
        for number, kind, _, value, stop in fields(data, start, end):
            left -= 1
            if left < 0:
                return f"has more than {MAX_FIELDS} fields, and no graph of atd needs so many; run atd export again"
            if number in refused:
                return _unknown(refused[number])
            if message == TENSOR and (number == EXTERNAL_DATA or (number == DATA_LOCATION and value != 0)):
                return "keeps tensors in other files; a graph must hold all of its tensors itself"
            if message == NODE and kind == LENGTH_DELIMITED and number in (OPERATOR, DOMAIN):
                text = data[value : min(stop, value + 100)].decode(errors="replace")
                if number == OPERATOR and text not in OPERATORS:
                    return _unknown(f"the operator {text!r:.60}")
                if number == DOMAIN and text not in DOMAINS:
                    return _unknown(f"an operator of the domain {text!r:.60}")
            if number in children and kind == LENGTH_DELIMITED:
                pending.append((children[number], value, stop))
    return None


def _unknown(what: str) -> str:
    return f"holds {what}, which none of atd's graphs has; make graphs with: atd export"
