"""How much a backbone computes for one image, counted from the weights that its graph holds."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from adaptertune_deploy.core.spec import BackboneSpec
from adaptertune_deploy.engines.onnx import declared
from adaptertune_deploy.engines.onnx.wire_format import messages

GRAPH, INITIALIZER = 7, 5  # of ModelProto and GraphProto
PATCHES, TOKENS = "patch_embed.proj.weight", "tokens"
LAYER = re.compile(r"blocks\.(\d+)\.(.+)\.weight")
QKV = "attn.qkv"


def image_flop(graph: bytes, backbone: BackboneSpec) -> float | None:
    """Return the floating-point operations of one image, a multiply-add being two.

    Counted are patches, linear layers and the attention's two products; adapters, norms and activations are a few
    percent more. Where the backbone pools by its class token, the last block computes little but that token's row.

    Args:
        graph: the bytes of a graph in floating point, with timm's names.
        backbone: whose it is.

    Returns:
        None for a graph whose patches or blocks have other names.
    """
    shapes = weight_shapes(graph)
    patch = shapes.get(PATCHES, ())
    layers = {name: shape for name, shape in shapes.items() if LAYER.fullmatch(name) and len(shape) == 2}
    if len(patch) != 4 or not any(QKV in name for name in layers):
        return None
    patches = math.prod(size // side for size, side in zip(backbone.image_size, patch[2:], strict=True))
    tokens = shapes[TOKENS][1] if len(shapes.get(TOKENS, ())) == 3 else patches
    total = 2.0 * math.prod(patch) * patches
    for name, shape in layers.items():
        found = LAYER.fullmatch(name)
        pooled = found is not None and int(found[1]) == backbone.depth - 1 and backbone.pool == "token"
        rows = float(1 if pooled else tokens)
        if QKV in name:  # keys and values are those of all tokens, and each row asks all of them
            total += 4 * rows * tokens * shape[1] / 3
            rows = (2 * tokens + rows) / 3
        total += 2 * rows * math.prod(shape)
    return total


def weight_shapes(graph: bytes) -> Mapping[str, tuple[int, ...]]:
    """Return the shape of every tensor that an ONNX file holds, by name.

    Raises:
        ValueError: the bytes are no protobuf message.
    """
    spans = messages(graph, (0, len(graph)), GRAPH, INITIALIZER)
    return {tensor.name: tensor.dims for tensor in (declared.tensor(graph, *span) for span in spans)}
