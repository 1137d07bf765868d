"""Small values, adapters, bundles and images that many tests start from; every one is the same on every call."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from adaptertune_deploy.core import adapter as adapters
from adaptertune_deploy.core import bundle, files, tensors
from adaptertune_deploy.core.adapter import Adapter, AdapterConfig, DatasetRecord, Identity
from adaptertune_deploy.core.bundle import GraphRecord, Manifest, TaskRecord
from adaptertune_deploy.core.samples import SampleRecord
from adaptertune_deploy.core.spec import AdapterSpec, BackboneSpec, PreprocessSpec, TaskSpec


def make_backbone_spec(
    width: int = 8,
    depth: int = 4,
    features: int | None = None,
    name: str = "vit_tiny_patch16_224.random",
    image_size: tuple[int, int] = (32, 32),
    sha256: str = "b" * 64,
) -> BackboneSpec:
    return BackboneSpec(name, width, depth, width if features is None else features, image_size, sha256)


def make_preprocess_spec(
    size: tuple[int, int] = (32, 32),
    crop_pct: float = 0.9,
    crop_mode: str = "center",
    interpolation: str = "bicubic",
) -> PreprocessSpec:
    return PreprocessSpec(size, crop_pct, crop_mode, interpolation, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def make_task(
    name: str = "pets",
    classes: int = 3,
    rank: int = 2,
    blocks: Sequence[int] = (0, 1, 2, 3),
    alpha: float = 1.0,
) -> TaskSpec:
    labels = tuple(f"{name} {index}" for index in range(classes))
    return TaskSpec(name, labels, AdapterSpec(rank, alpha, tuple(blocks)))


def make_adapter(task: TaskSpec | None = None, backbone: BackboneSpec | None = None, seed: int = 0) -> Adapter:
    """Return a task with normally distributed tensors, `up` included, so that every tensor matters."""
    task = task or make_task()
    generator = np.random.default_rng(seed)
    shapes = adapters.tensor_shapes(task, backbone or make_backbone_spec())
    return Adapter(task, {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()})


def make_config(
    task: TaskSpec | None = None,
    backbone: BackboneSpec | None = None,
    preprocess: PreprocessSpec | None = None,
    tensors_sha256: str = "0" * 64,
    samples: Sequence[SampleRecord] = (),
) -> AdapterConfig:
    return AdapterConfig(
        format_version=adapters.FORMAT_VERSION,
        task=task or make_task(),
        backbone=backbone or make_backbone_spec(),
        preprocess=preprocess or make_preprocess_spec(),
        dataset=DatasetRecord(
            name="squares",
            val_split="official",
            train=60,
            val=20,
            test=20,
            split_sha256="d" * 64,
            licence="CC0-1.0",
        ),
        tensors_sha256=tensors_sha256,
        metrics={"test_top1": 0.75},
        versions={"torch": "2.10.0"},
        samples=tuple(samples),
    )


def write_adapter(
    folder: Path,
    task: TaskSpec | None = None,
    backbone: BackboneSpec | None = None,
    preprocess: PreprocessSpec | None = None,
    seed: int = 0,
) -> Adapter:
    """Write the folder adapters/<task>/ as training would and return what it holds."""
    adapter = make_adapter(task, backbone, seed)
    identity = make_config(adapter.task, backbone, preprocess).identity
    digest = adapters.write_tensors(folder, adapter.tensors, identity)
    adapters.write_config(folder, make_config(adapter.task, backbone, preprocess, digest))
    return adapter


def make_graph(file: str, data: bytes) -> GraphRecord:
    """Return the record of a graph's bytes."""
    return GraphRecord(file, files.sha256_bytes(data), "fp32", opset=20, ir_version=10)


def write_merged(folder: Path, manifest: Manifest, graphs: Mapping[str, bytes]) -> Manifest:
    """Give tasks of a bundle merged graphs, task -> its bytes, and return the manifest, which is written."""
    tasks = []
    for record in manifest.tasks:
        if record.task.name in graphs:
            data = graphs[record.task.name]
            path = bundle.merged_file(record.task.name, files.sha256_bytes(data))
            files.write_bytes(folder / path, data)
            record = replace(record, merged=make_graph(path, data))
        tasks.append(record)
    manifest = replace(manifest, tasks=tuple(tasks))
    bundle.write_manifest(folder, manifest)
    return manifest


def write_bundle(
    folder: Path,
    held: Sequence[Adapter] | None = None,
    slots: Sequence[int] = (0, 1, 2, 3),
    backbone: BackboneSpec | None = None,
    preprocess: PreprocessSpec | None = None,
    graph: bytes = b"stands for an ONNX graph",
) -> Manifest:
    """Write a bundle of the shared form; its graph is `graph`, which only a test that runs it makes a real one."""
    shared = bundle.shared_file(files.sha256_bytes(graph))
    files.write_bytes(folder / shared, graph)
    backbone, preprocess = backbone or make_backbone_spec(), preprocess or make_preprocess_spec()
    records = []
    for adapter in held if held is not None else [make_adapter(backbone=backbone)]:
        identity = Identity(adapter.task, backbone, preprocess)
        data = tensors.pack(adapter.tensors, (adapters.IDENTITY_KEY, identity.sha256))
        digest = files.sha256_bytes(data)
        path = bundle.tensor_file(adapter.task.name, digest)
        files.write_bytes(folder / path, data)
        records.append(TaskRecord(adapter.task, path, digest))
    manifest = Manifest(
        format_version=bundle.FORMAT_VERSION,
        backbone=backbone,
        preprocess=preprocess,
        slots=tuple(slots),
        tasks=tuple(records),
        shared=make_graph(shared, graph),
        versions={"torch": "2.10.0"},
    )
    bundle.write_manifest(folder, manifest)
    return manifest


def make_image(width: int = 48, height: int = 40, seed: int = 0, mode: str = "RGB") -> Image.Image:
    """Return an image of noise over a gradient: detail for the resizer, and no two corners alike."""
    generator = np.random.default_rng(seed)
    ramp = np.linspace(0, 160, width)[None, :, None] * np.linspace(0.2, 1, height)[:, None, None]
    pixels = ramp + generator.integers(0, 96, (height, width, 3))
    return Image.fromarray(pixels.astype(np.uint8)).convert(mode)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return an image as the bytes of a file of this Pillow format."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()
