from __future__ import annotations

from dataclasses import replace

import pytest

from adaptertune_deploy.bench.work import image_flop, weight_shapes
from adaptertune_deploy.core.bundle.folder import read_graph, read_manifest
from tests.bench.golden import GOLDEN
from tests.builders import make_backbone_spec
from tests.engines.onnx_files import field


def graph_of(shapes: dict[str, tuple[int, ...]]) -> bytes:
    """Return an ONNX file that holds nothing but tensors of these shapes, without their numbers."""
    tensors = [b"".join(field(1, size) for size in shape) + field(8, name) for name, shape in shapes.items()]
    return field(7, b"".join(field(5, tensor) for tensor in tensors))


def vit(width: int, depth: int, patch: int, tokens: int) -> dict[str, tuple[int, ...]]:
    """Return the weights of a Vision Transformer with an MLP four times as wide."""
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "tokens": (1, tokens, width),
    }
    for block in range(depth):
        for name, shape in {
            "norm1": (width,),
            "attn.qkv": (width, 3 * width),
            "attn.proj": (width, width),
            "mlp.fc1": (width, 4 * width),
            "mlp.fc2": (4 * width, width),
        }.items():
            shapes[f"blocks.{block}.{name}.weight"] = shape
    return shapes


@pytest.mark.parametrize(
    ("width", "gmac"),
    [(192, 1.26), (384, 4.61), (768, 17.58)],  # DeiT-Tiny, ViT-S and ViT-B as timm's results name them, in 10^9 MACs
)
def test_a_vision_transformer_costs_what_is_published_of_it(width: int, gmac: float) -> None:
    backbone = make_backbone_spec(width=width, depth=12, image_size=(224, 224))
    found = image_flop(graph_of(vit(width, 12, 16, 197)), backbone)
    assert found is not None
    assert found / 2e9 == pytest.approx(gmac, rel=0.01)


def test_the_last_block_of_a_pooled_token_computes_keys_values_and_one_row() -> None:
    backbone = make_backbone_spec(width=192, depth=12, image_size=(224, 224))
    graph, tokens, width = graph_of(vit(192, 12, 16, 197)), 197, 192
    every, pooled = (image_flop(graph, replace(backbone, pool=pool)) for pool in ("avg", "token"))
    assert every is not None
    assert pooled is not None
    rows = tokens - 1  # that the last block leaves out: of queries, projection and MLP, and of both products
    saved = rows * (2 * width * width * (1 + 1 + 8) + 4 * tokens * width)
    assert every - pooled == pytest.approx(saved)


def test_another_networks_graph_is_not_counted() -> None:
    backbone = make_backbone_spec()
    assert image_flop(graph_of({"stem.weight": (8, 3, 3, 3)}), backbone) is None
    assert image_flop(graph_of({"patch_embed.proj.weight": (8, 3, 8, 8)}), backbone) is None


def test_shapes_are_read_from_a_real_graph() -> None:
    manifest = read_manifest(GOLDEN / "bundle")
    graph = read_graph(GOLDEN / "bundle", manifest.graphs[0])
    shapes = weight_shapes(graph)
    assert shapes["patch_embed.proj.weight"] == (32, 3, 8, 8)
    assert shapes["blocks.2.attn.qkv.weight"] == (32, 96)
    found = image_flop(graph, manifest.backbone)
    assert found is not None
    linear = sum(shape[0] * shape[1] for name, shape in shapes.items() if "blocks" in name and len(shape) == 2)
    tokens = shapes["tokens"][1] if "tokens" in shapes else 16
    assert found == pytest.approx(2 * 16 * 32 * 3 * 64 + 2 * tokens * linear + 3 * 4 * tokens * tokens * 32)
