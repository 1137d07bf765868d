"""The operators that take the place of an attention, given what was found of it.

Operators: github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from adaptertune_deploy.engines.onnx.nodes import FLOAT, WireNode

DOMAIN, PREFIX = "com.microsoft", "atd."  # of operators, and of names that are added
SIZES = "sizes."  # of initialisers that are added, by what they hold


@dataclass(frozen=True)
class Quantised:
    """What makes a product with int8 weights out of a value [B, S, D].

    values, scale, zero: uint8 [B, S, D] and a number each, as DynamicQuantizeLinear makes them of the value.
    weight_scale: the initialiser [3D], a scale for every output channel of the weights.
    """

    values: str
    scale: str
    zero: str
    weight_scale: str


@dataclass(frozen=True)
class Attention:
    """One attention that was found.

    source: the value [B, S, D] that the weights are multiplied with; where there are none, q, k and v [B, S, 3D].
    weight, bias: initialisers [D, 3D] and [3D]; None where what makes q, k and v stays.
    factor, scale: the initialiser that q is multiplied with, and its value.
    row: the initialiser [1] that says which token asks, None where all do.
    result: the value [B, S, D], or [B, 1, D] of one token.
    inner: indices of all nodes, the one that makes the result last.
    quantised: what else a product with int8 weights has; None where they are float32.
    """

    source: str
    weight: str | None
    bias: str | None
    tokens: int
    heads: int
    width: int
    factor: str
    scale: float
    row: str | None
    result: str
    inner: tuple[int, ...]
    quantised: Quantised | None = None


def _rows(attention: Attention) -> tuple[int, int, int]:
    return -1, attention.tokens, attention.width


def _sizes(sizes: tuple[int, ...]) -> str:
    """Return the name of the initialiser that holds these sizes."""
    return PREFIX + SIZES + ",".join(map(str, sizes))


def nodes_of(attention: Attention, name: str) -> list[WireNode]:
    """Return the operators that compute the same.

    The Reshape repeats what the plain form says of the number of tokens, and costs nothing.
    """
    given = {"num_heads": attention.heads, "scale": attention.scale}
    weight, bias = attention.weight, attention.bias
    if weight is None or bias is None:
        sizes, parts = _sizes((-1, attention.tokens, 3 * attention.width)), tuple(f"{name}.{part}" for part in "qkv")
        cut = {"axis": 2, "num_outputs": 3}
        return [
            WireNode("Reshape", (attention.source, sizes), (f"{name}.x",), name=f"{name}.x"),
            WireNode("Split", (f"{name}.x",), parts, name=f"{name}.parts", attributes=cut),
            WireNode("MultiHeadAttention", parts, (attention.result,), DOMAIN, name, given),
        ]
    quantised, x, result = attention.quantised, f"{name}.x", (attention.result,)
    tokens = attention.source if quantised is None or attention.row is not None else quantised.values
    source = WireNode("Reshape", (tokens, _sizes(_rows(attention))), (x,), name=x)
    if attention.row is not None:
        floats = [] if quantised is None else _floats(weight, quantised.weight_scale, name)
        weight = floats[-1].outputs[0] if floats else weight
        return [source, *floats, *_one_token(attention, weight, bias, attention.row, name)]
    if quantised is None:
        return [source, WireNode("Attention", (x, weight, bias), result, DOMAIN, name, given)]
    inputs = (x, weight, bias, quantised.scale, quantised.weight_scale, "", quantised.zero)
    return [source, WireNode("QAttention", inputs, result, DOMAIN, name, {"num_heads": attention.heads})]


def _floats(weight: str, scale: str, name: str) -> list[WireNode]:
    """Return the operators that give int8 weights in float32, which ONNX Runtime computes when it loads them."""
    cast, scaled = f"{name}.floats.cast", f"{name}.floats"
    return [
        WireNode("Cast", (weight,), (cast,), "", cast, {"to": FLOAT}),
        WireNode("Mul", (cast, scale), (scaled,), "", scaled),
    ]


def _one_token(attention: Attention, weight: str, bias: str, row: str, name: str) -> list[WireNode]:
    """Return the operators for one token that asks, without the products that would give every token's k and v.

    With x the tokens, q a head's query, p its softmax and W, b the weights of that head,
    q (x Wk + bk)' = (q Wk') x' + q bk', whose last term is the same for every token and leaves the softmax as it is;
    and p (x Wv + bv) = (p x) Wv + bv, since p sums to one. ONNX Runtime rearranges the weights when it loads them.
    """
    heads, width = attention.heads, attention.width
    each = width // heads
    nodes: list[WireNode] = []

    def add(operator: str, inputs: tuple[str, ...], to: str, **attributes: int | tuple[int, ...]) -> str:
        output = attention.result if to == "result" else f"{name}.{to}"
        nodes.append(WireNode(operator, inputs, (output,), "", f"{name}.{to}", attributes))
        return output

    def split(tensor: str, kind: str, axis: int) -> tuple[str, ...]:
        parts = tuple(f"{name}.{part}.{kind}" for part in "qkv")
        nodes.append(WireNode("Split", (tensor,), parts, "", f"{name}.{kind}", {"axis": axis, "num_outputs": 3}))
        return parts

    x, by_head = f"{name}.x", _sizes((width, heads, each))
    wq, wk, wv = split(weight, "weight", 1)
    bq, _, bv = split(bias, "bias", 0)
    wk = add("Transpose", (add("Reshape", (wk, by_head), "k.heads"),), "k.turned", perm=(1, 2, 0))
    wv = add("Transpose", (add("Reshape", (wv, by_head), "v.heads"),), "v.turned", perm=(1, 0, 2))
    q = add("Add", (add("MatMul", (add("Gather", (x, row), "row", axis=1), wq), "q.product"), bq), "q")
    q = add("Mul", (q, attention.factor), "q.scaled")
    q = add("MatMul", (add("Reshape", (q, _sizes((-1, heads, 1, each))), "q.heads"), wk), "q.tokens")
    q = add("Reshape", (q, _sizes((-1, heads, width))), "q.rows")
    scores = add("MatMul", (q, add("Transpose", (x,), "x.turned", perm=(0, 2, 1))), "scores")
    mixed = add("MatMul", (add("Softmax", (scores,), "softmax", axis=-1), x), "mixed")
    mixed = add("MatMul", (add("Reshape", (mixed, _sizes((-1, heads, 1, width))), "mixed.heads"), wv), "v")
    add("Add", (add("Reshape", (mixed, _sizes((-1, 1, width))), "v.row"), bv), "result")
    return nodes
