"""The operators that take the place of an attention, given what was found of it.

Operators: github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from adaptertune_deploy.engines.onnx.nodes import WireNode

DOMAIN, PREFIX = "com.microsoft", "atd."  # of operators, and of names that are added
SIZES = "sizes."  # of initialisers that are added, by what they hold


@dataclass(frozen=True)
class Attention:
    """One attention that was found.

    source: the value [B, S, D] that the weights are multiplied with; where there are none, q, k and v [B, S, 3D].
    weight, bias: initialisers [D, 3D] and [3D]; None where what makes q, k and v stays.
    factor, scale: the initialiser that q is multiplied with, and its value.
    row: the initialiser [1] that says which token asks, None where all do.
    result: the value [B, S, D], or [B, 1, D] of one token.
    inner: indices of all nodes, the one that makes the result last.
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
    source = WireNode("Reshape", (attention.source, _sizes(_rows(attention))), (f"{name}.x",), name=f"{name}.x")
    if attention.row is not None:
        return [source, *_one_token(attention, weight, bias, attention.row, name)]
    return [source, WireNode("Attention", (f"{name}.x", weight, bias), (attention.result,), DOMAIN, name, given)]


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
