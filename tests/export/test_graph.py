"""export.graph: plain, quiet, dynamic, self-contained graphs, or one line that says why not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.errors import ExportError
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.export import graph, onnx_file
from adaptertune_deploy.export.graph import GraphInput, to_onnx
from adaptertune_deploy.export.shared import export_shared
from adaptertune_deploy.model.backbone import Backbone
from tests.builders import make_adapter, make_task
from tests.export.conftest import SLOTS, OpenGraph, ask, build_backbone, merged_of, reference, scaled_adapter

# Of the operators that TensorRT 10.1's parser reads (docs/operators.md of github.com/onnx/onnx-tensorrt at commit
# 96e7811, Apache-2.0), those that our graphs use; 10.3, on JetPack 6, reads them all.
READ_BY_TENSORRT = {
    "Add", "Concat", "Conv", "Div", "Expand", "Gather", "Gelu", "Gemm", "LayerNormalization", "MatMul", "Mul", "Neg",
    "Pad", "ReduceMean", "Reshape", "Sigmoid", "Slice", "Softmax", "Split", "Squeeze", "Transpose", "Unsqueeze",
}  # fmt: skip
FAMILIES = {
    "deit_tiny_distilled_patch16_224": {"img_size": 32, "embed_dim": 48},
    "eva02_tiny_patch14_224": {"img_size": 28, "embed_dim": 48},
    "vit_small_patch14_reg4_dinov2": {"img_size": 28, "embed_dim": 48, "num_heads": 3},
    "vit_base_patch16_siglip_224": {"img_size": 32, "embed_dim": 48, "num_heads": 3},
    "beit_base_patch16_224": {"img_size": 32, "embed_dim": 48, "num_heads": 3},
    "vit_small_patch16_dinov3": {"img_size": 32, "embed_dim": 48, "num_heads": 3, "global_pool": "token"},
}
# Those that pool by one class token; the others take two, a mean, or attend once more.
ONE_TOKEN = ("vit_small_patch14_reg4_dinov2", "vit_small_patch16_dinov3")


def operators(data: bytes) -> Counter[str]:
    model = onnx.load_from_string(data)
    assert {node.domain for node in model.graph.node} == {""}
    return Counter(node.op_type for node in model.graph.node)


def dynamic_axes(data: bytes) -> dict[str, list[int | str]]:
    inner = onnx.load_from_string(data).graph
    return {
        entry.name: [dim.dim_param or dim.dim_value for dim in entry.type.tensor_type.shape.dim]
        for entry in (*inner.input, *inner.output)
    }


def check_form(data: bytes, backbone: Backbone, one_token: bool) -> None:
    """Assert what the rewrites promise of a merged graph with an adapter after block 0."""
    inner = onnx.load_from_string(data).graph
    named = {entry.name for entry in inner.initializer} | {name for node in inner.node for name in node.output}
    assert not [name for name in named if name.startswith("val_") or "#" in name]
    products = {node.input[1] for node in inner.node if node.op_type == "MatMul"} & {x.name for x in inner.initializer}
    adapter = {"blocks.0.adapter.down.weight", "blocks.0.adapter.up.weight"}
    assert adapter < products <= backbone.module.state_dict().keys() | adapter
    assert ("int64.[0]" in {node.input[1] for node in inner.node if node.op_type == "Gather"}) == one_token


class Doubler(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images * 2


class FixedBatch(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images + torch.ones(2, 3)


class Failing(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        raise ValueError("the first line\nand a second one")


IMAGES = [GraphInput("images", torch.zeros(2, 3), {0: "N"})]


def test_every_graph_is_plain_opset_20_of_ir_version_10(merged_graphs: list[bytes], shared_graph: bytes) -> None:
    for data in (*merged_graphs, shared_graph):
        model = onnx.load_from_string(data)
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]
        assert model.ir_version == 10
        assert not model.functions
        assert set(operators(data)) <= READ_BY_TENSORRT
        onnx.checker.check_model(model, full_check=True)


def test_the_operators_are_in_tensorrts_table() -> None:
    table = Path(__file__).parents[3] / "shared" / "reference" / "tensorrt-api" / "onnx-ops-10.1.json"
    if not table.is_file():
        pytest.skip("TensorRT's operator table is not beside the repository")
    assert set(json.loads(table.read_text())["supported"]) >= READ_BY_TENSORRT


def test_one_node_a_norm_and_nothing_left_over(
    backbone: Backbone, merged_graphs: list[bytes], shared_graph: bytes
) -> None:
    norms = sum(isinstance(module, nn.LayerNorm) for module in backbone.module.modules())
    for data in (merged_graphs[0], shared_graph):
        found = operators(data)
        assert found["LayerNormalization"] == norms == 7
        assert found["Gelu"] == 3 + 3  # three blocks, three adapters
        assert found["Mul"] == 3  # q * scale; alpha is folded into `up`
        assert found["Pad"] == 1  # the class token
        assert found["Shape"] == found["Slice"] == found["Squeeze"] == found["Concat"] == 0
        assert found["Softmax"] == 3
        assert found["Cast"] == found["Identity"] == 0
    # Patches and their position 5, a block 25 and an adapter 6; the last norm, the class token, its Gathers in the last
    # block before the query and the residual sum, the head.
    assert len(onnx.load_from_string(merged_graphs[0]).graph.node) == 5 + 3 * (25 + 6) + 2 + 2 + 1
    assert operators(shared_graph)["Gather"] == 1 + 3 * 4 + 3 * 3 + 1 + 2  # image, slots, q k v, class token


def test_only_the_batch_and_the_bank_are_dynamic(
    backbone: Backbone, merged_graphs: list[bytes], shared_graph: bytes
) -> None:
    assert dynamic_axes(merged_graphs[1]) == {"images": ["N", 3, 32, 32], "logits": ["N", 11]}
    held = {name: list(shape) for name, shape in bank.input_shapes(SLOTS, 48).items()}
    assert dynamic_axes(shared_graph) == {
        "images": ["N", 3, 32, 32],
        "image": ["B"],
        "task": ["B"],
        **held,
        "features": ["B", 48],
    }
    assert list(dynamic_axes(shared_graph))[3:-1] == list(bank.bank_names(SLOTS))


def test_nothing_of_the_machine_is_left_in_the_file(merged_graphs: list[bytes], shared_graph: bytes) -> None:
    for data in (merged_graphs[0], shared_graph):
        for trace in (b"site-packages", b'File "', str(Path.home()).encode(), b".py"):
            assert trace not in data
        model = onnx.load_from_string(data)
        assert not model.graph.value_info
        assert not any(node.metadata_props for node in model.graph.node)
        assert [entry.key for entry in model.metadata_props] == [graph_facts.KEY]
        assert model.producer_name == "adaptertune-deploy"
        assert not any(entry.external_data for entry in model.graph.initializer)
        used = {name for node in model.graph.node for name in node.input}
        assert {entry.name for entry in model.graph.initializer} <= used


def test_the_same_weights_give_the_same_bytes(backbone: Backbone, last_slot: bytes) -> None:
    assert export_shared(backbone, (2,)) == last_slot


def test_tracing_is_silent_and_leaves_the_backbone_as_it_was(
    backbone: Backbone, held: Sequence[Adapter], capfd: pytest.CaptureFixture[str]
) -> None:
    before = [(name, getattr(part, "fused_attn", None)) for name, part in backbone.module.named_modules()]
    export_shared(backbone, (2,))
    assert [(name, getattr(part, "fused_attn", None)) for name, part in backbone.module.named_modules()] == before
    assert not any(part._forward_hooks for part in backbone.module.modules())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", FAMILIES)
def test_other_families_export_and_agree_with_torch(name: str, open_graph: OpenGraph) -> None:
    """Two blocks, whose scales are drawn as large as trained ones: fresh ones are 1e-5 in some, and hide the block."""
    backbone = build_backbone(name, depth=2, **FAMILIES[name])
    for part, parameter in backbone.module.named_parameters():
        if "gamma" in part or "token" in part:
            torch.nn.init.normal_(parameter, std=0.5)
    adapter = scaled_adapter(make_adapter(make_task(classes=3, rank=2, blocks=(0,)), backbone.spec))
    images = np.random.default_rng(2).normal(size=(5, 3, *backbone.spec.image_size)).astype(np.float32)
    wanted = reference(backbone, adapter, images)
    shared = export_shared(backbone, (0,))
    merged = merged_of(shared, backbone, adapter)
    assert set(operators(shared)) | set(operators(merged)) <= READ_BY_TENSORRT
    check_form(merged, backbone, one_token=name in ONE_TOKEN)
    assert np.abs(open_graph(merged).run({"images": images})["logits"] - wanted).max() < 2e-5
    image = [4, 0, 0, 2, 1, 3, 4]
    rows = ask(open_graph(shared), [adapter], (0,), images, image, [0] * 7)
    assert np.abs(np.stack(rows) - wanted[image]).max() < 2e-5


def test_a_family_that_can_not_be_traced_is_one_line() -> None:
    """SAM's blocks hand on [N, H, W, D], which no batched product of rows fits."""
    backbone = build_backbone("samvit_base_patch16", img_size=64, depth=1, embed_dim=48, num_heads=3)
    with pytest.raises(ExportError, match=r"^samvit_base_patch16\.random can't be traced to ONNX \(.+\); choose"):
        export_shared(backbone, (0,))


def test_a_failure_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ExportError) as failure:
        to_onnx(Failing(), IMAGES, "logits", {}, "a net")
    assert str(failure.value) == ("a net can't be traced to ONNX (ValueError: the first line); choose another backbone")
    assert capfd.readouterr() == ("", "")


def test_a_batch_that_tracing_fixes_without_a_word_is_found_out() -> None:
    with pytest.raises(ExportError, match=r"'images' with the dynamic axes \{\}, expected \{0: 'N'\}; choose another"):
        to_onnx(FixedBatch(), IMAGES, "logits", {}, "a net")


def test_a_network_that_no_file_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is what would be written."""
    size = len(to_onnx(nn.Linear(3, 2), IMAGES, "logits", {}, "a net"))
    monkeypatch.setattr(onnx_file, "MAX_BYTES", size // 2)
    with pytest.raises(ExportError, match=r"^the graph of a net takes 0\.0 GiB, one ONNX file at most 2"):
        to_onnx(nn.Linear(3, 2), IMAGES, "logits", {}, "a net")


def test_metadata_and_names_reach_the_engine(open_graph: OpenGraph) -> None:
    data = to_onnx(Doubler(), IMAGES, "logits", {"b": "2", "a": "ä"}, "a net")
    engine = open_graph(data)
    assert engine.metadata == {"a": "ä", "b": "2"}
    found: Array = engine.run({"images": np.ones((4, 3), np.float32)})["logits"]
    assert found.tolist() == [[2.0] * 3] * 4


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda model: setattr(model.graph.node[0], "domain", "com.microsoft"), r"not plain opset 20 \(.*microsoft"),
        (lambda model: setattr(model.opset_import[0], "version", 21), "not plain opset 20"),
        (lambda model: setattr(model.graph.node[0], "op_type", "Mull"), "not valid ONNX"),
        (
            lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 2),
            r"tracing a net left input 'images' with the dynamic axes \{\}, expected \{0: 'N'\}",
        ),
    ],
    ids=["domain", "opset", "operator", "fixed"],
)
def test_a_graph_that_is_not_what_was_asked_for_is_refused(
    spoil: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_file = graph._to_file

    def spoiled(model: Any) -> Any:
        file = to_file(model)
        spoil(file.model)
        return file

    monkeypatch.setattr(graph, "_to_file", spoiled)
    with pytest.raises(ExportError, match=message):
        to_onnx(Doubler(), IMAGES, "logits", {}, "a net")
