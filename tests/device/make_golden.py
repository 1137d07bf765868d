"""Make the small bundle on which the device side is tested where torch, timm and onnx are absent.

python -m tests.device.make_golden

Writes golden/: a bundle of two tasks in both forms on a tiny random Vision Transformer, one with adapters and one that
is a head only; all three tasks' adapter folders, four images, and torch's logits for all of them. "cars-adapter" are
those of the candidate that does not ship.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer

from adaptertune_deploy.core.adapter.folder import Adapter, AdapterConfig, read_adapter
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle import publish
from adaptertune_deploy.core.bundle.manifest import FORMAT_VERSION, Manifest
from adaptertune_deploy.core.images import preprocess as images
from adaptertune_deploy.core.spec import BackboneSpec
from adaptertune_deploy.core.storage import files, tensors
from adaptertune_deploy.export.merge import merged_graph
from adaptertune_deploy.export.shared import export_shared
from adaptertune_deploy.model.backbone import Backbone, weights_sha256
from adaptertune_deploy.model.reference import torch_logits
from tests.builders import encode, make_image, make_preprocess_spec, make_task, put_graph, write_adapter

GOLDEN = Path(__file__).parent / "golden"
SLOTS = (0, 1, 2)
TASKS = (
    make_task("birds", classes=3, rank=2, blocks=(1, 2), alpha=0.5, temperature=1.5),
    make_task("cars", classes=5, rank=4, blocks=SLOTS, temperature=2.0),
    make_task("trees", classes=4, rank=3, blocks=(2,), alpha=2.0),
)
HEADS_ONLY = ("cars",)


def make_backbone() -> Backbone:
    """Return a random ViT of 3 blocks and width 32 for 32x32 pixels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = VisionTransformer(img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=2, num_classes=0)
    module.eval().requires_grad_(False)
    sha256 = weights_sha256(module)
    spec = BackboneSpec("vit_golden_patch8_32.random", 32, 3, 32, (32, 32), sha256)
    return Backbone(module, spec, make_preprocess_spec())


def read(folder: Path, seed: int, backbone: Backbone, task_index: int) -> tuple[AdapterConfig, Adapter]:
    """Write one task's adapter folder with random tensors and read it back."""
    task = TASKS[task_index]
    ships = "head" if task.name in HEADS_ONLY else "adapter"
    write_adapter(folder, task, backbone.spec, backbone.preprocess, seed, ships, probe_temperature=0.75)
    return read_adapter(folder)


def main() -> None:
    """Write everything anew."""
    shutil.rmtree(GOLDEN, ignore_errors=True)
    backbone = make_backbone()
    folders = [GOLDEN / "adapters" / task.name for task in TASKS]
    held = [read(folder, seed, backbone, seed) for seed, folder in enumerate(folders)]
    pictures = [encode(make_image(seed=seed)) for seed in range(4)]
    for number, data in enumerate(pictures):
        files.write_bytes(GOLDEN / "images" / f"{number}.png", data)
    pixels = np.stack([images.preprocess(data, backbone.preprocess) for data in pictures])
    expected = {
        task.name: torch_logits(backbone, adapter, pixels) for task, (_, adapter) in zip(TASKS, held, strict=True)
    }
    for name in HEADS_ONLY:
        _, other = read_adapter(GOLDEN / "adapters" / name, "adapter")
        expected[f"{name}-adapter"] = torch_logits(backbone, other, pixels)
    files.write_bytes(GOLDEN / "logits.safetensors", tensors.pack(expected))
    with publish.writing(GOLDEN / "bundle") as writer:
        traced = export_shared(backbone, SLOTS)
        manifest = Manifest(FORMAT_VERSION, backbone.spec, backbone.preprocess, SLOTS, ())
        records = [writer.write_task(adapter, config) for config, adapter in held[:2]]
        manifest = put_graph(GOLDEN / "bundle", replace(manifest, tasks=tuple(records)), traced)
        for record, (_, adapter) in zip(records, held, strict=False):
            data = merged_graph(traced, adapter, bundle.merged_facts(manifest, record))
            manifest = put_graph(GOLDEN / "bundle", manifest, data, record.task.name)
        writer.publish(manifest)


if __name__ == "__main__":
    main()
