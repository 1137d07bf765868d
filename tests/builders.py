"""Small values, adapters, bundles and images that many tests start from; every one is the same on every call."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.adapter import tuned_weights
from adaptertune_deploy.core.adapter.folder import Adapter, AdapterConfig
from adaptertune_deploy.core.adapter.identity import FolderIdentity, Identity, ProbeRecord, tensor_shapes
from adaptertune_deploy.core.adapter.nested import WidthMeasure, WidthRecord
from adaptertune_deploy.core.adapter.reference import write_reference
from adaptertune_deploy.core.adapter.samples import SampleRecord, keep
from adaptertune_deploy.core.adapter.training_record import DatasetRecord, RecipeRecord
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle import manifest as manifests
from adaptertune_deploy.core.bundle.manifest import GraphRecord, Manifest, ParityRecord, TaskRecord
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.spec import HEAD_ONLY, AdapterSpec, BackboneSpec, PreprocessSpec, TaskSpec
from adaptertune_deploy.core.storage import files, tensors
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.verification.contract import input_types


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
    temperature: float = 1.0,
) -> TaskSpec:
    """Return a task; with rank 0 it is a head only, whatever `blocks` and `alpha` are."""
    labels = tuple(f"{name} {index}" for index in range(classes))
    return TaskSpec(name, labels, AdapterSpec(rank, alpha, tuple(blocks)) if rank else HEAD_ONLY, temperature)


def make_adapter(task: TaskSpec | None = None, backbone: BackboneSpec | None = None, seed: int = 0) -> Adapter:
    """Return a task with normally distributed tensors, `up` included, so that every tensor matters."""
    task = task or make_task()
    return Adapter(task, make_tensors(tensor_shapes(task, backbone or make_backbone_spec()), seed))


def make_tensors(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Array]:
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def make_recipe() -> RecipeRecord:
    return RecipeRecord(
        epochs=8.0,
        steps=60,
        batch_size=32,
        lr=6e-3,
        head_lr=2e-3,
        weight_decay=0.0,
        warmup=0.1,
        clip=1.0,
        label_smoothing=0.1,
        served_view=0.33,
        seed=0,
        placement="all",
        augment="natural",
        class_weights="balanced",
        start_penalty=0.01,
        folds=3,
        precision="fp32",
        device="cpu",
        seconds=12.5,
    )


def make_config(
    task: TaskSpec | None = None,
    backbone: BackboneSpec | None = None,
    preprocess: PreprocessSpec | None = None,
    tensors_sha256: str = "0" * 64,
    samples: Sequence[SampleRecord] = (),
    ships: str | None = None,
    probe_temperature: float = 1.0,
    widths: Sequence[WidthRecord] = (),
) -> AdapterConfig:
    """Return a config; by default the adapter ships where there is one."""
    task = task or make_task()
    return AdapterConfig(
        format_version=adapters.FORMAT_VERSION,
        task=task,
        probe=ProbeRecord(0.1, probe_temperature),
        ships=ships or (adapters.ADAPTER if task.adapter.rank else adapters.HEAD),
        backbone=backbone or make_backbone_spec(),
        preprocess=preprocess or make_preprocess_spec(),
        dataset=DatasetRecord(
            name="squares",
            train=80,
            test=20,
            test_rule="official",
            split_sha256="d" * 64,
            licence="CC0-1.0",
        ),
        tensors_sha256=tensors_sha256,
        recipe=make_recipe() if task.adapter.rank else None,
        metrics={"test_top1_shipped": 0.75},
        versions={"torch": "2.10.0"},
        samples=tuple(samples),
        widths=tuple(widths),
    )


def make_candidates(identity: FolderIdentity, seed: int = 0) -> dict[str, Array]:
    """Return normally distributed tensors of both candidates; the adapter's are those of `make_adapter`."""
    own = make_tensors(tensor_shapes(identity.task, identity.backbone), seed)
    probe = make_tensors({name: shape for name, shape in identity.shapes.items() if name not in own}, seed + 1000)
    return {name: value for name, value in {**own, **probe}.items() if name in identity.shapes}


def write_adapter(
    folder: Path,
    task: TaskSpec | None = None,
    backbone: BackboneSpec | None = None,
    preprocess: PreprocessSpec | None = None,
    seed: int = 0,
    ships: str | None = None,
    probe_temperature: float = 1.0,
    widths: Sequence[WidthRecord] = (),
) -> Adapter:
    """Write the folder adapters/<task>/, both candidates, as training would and return what ships."""

    def config(digest: str = "0" * 64) -> AdapterConfig:
        return make_config(
            task, backbone, preprocess, digest, ships=ships, probe_temperature=probe_temperature, widths=widths
        )

    held = make_candidates(config().identity, seed)
    written = config(adapters.write_tensors(folder, held, config().identity))
    adapters.write_config(folder, written)
    shipped = written.shipped()
    side = "head." if shipped.adapter.rank else "probe."
    names = tensor_shapes(shipped, written.backbone)
    return Adapter(shipped, {name: held[name.replace("head.", side)] for name in names})


def write_tuned(folder: Path) -> Path:
    """Write the folder of a task that was trained by full fine-tuning, which ships, and return it."""
    files.write_bytes(
        folder / adapters.WEIGHTS_NAME, tensors.pack(make_tensors({"norm.weight": (8,), "norm.bias": (8,)}))
    )
    digest = tuned_weights.sha256(folder / adapters.WEIGHTS_NAME)
    config = replace(make_config(make_task(rank=0)), tuned_sha256=digest, ships=adapters.FULL)
    held = adapters.write_tensors(folder, make_tensors(config.identity.shapes), config.identity)
    adapters.write_config(folder, replace(config, tensors_sha256=held))
    return folder


def make_widths(*ranks: int, images: int = 378) -> tuple[WidthRecord, ...]:
    """Return nested widths, each with a temperature of its own and worse out of fold the smaller it is."""
    full = ranks[-1]
    return tuple(
        WidthRecord(
            rank,
            1 + rank / 10,
            WidthMeasure(images, 0.5 + (full - rank) / 100, 0.9 - (full - rank) / 100, (full - rank) / 100, 0.02),
        )
        for rank in ranks
    )


def make_nested(folder: Path, widths: Sequence[WidthRecord]) -> AdapterConfig:
    """Make the adapters of a folder nested ones, whose tensors stay as they are."""
    config = adapters.read_config(folder)
    held = tensors.unpack(adapters.read_folder_tensors(folder, config), config.identity.shapes, str(folder))
    config = replace(config, widths=tuple(widths))
    config = replace(config, tensors_sha256=adapters.write_tensors(folder, held, config.identity))
    adapters.write_config(folder, config)
    return config


def give_reference(folder: Path, images: Sequence[bytes], logits: Mapping[str, Array]) -> None:
    """Give an adapter folder samples that travel, and torch's answers about them: candidate -> [samples, classes]."""
    kept = keep(folder, [(image, ".png", "a label") for image in images], travel=True)
    digest = write_reference(folder, logits)
    config = adapters.read_config(folder)
    adapters.write_config(folder, replace(config, samples=kept, reference_sha256=digest))


def make_graph(manifest: Manifest, data: bytes, task: str | None = None) -> GraphRecord:
    """Return the record of a graph's bytes: a task's merged one, or the shared one for None."""
    form = manifests.SHARED if task is None else manifests.MERGED
    inputs = input_types(bundle.facts_of(manifest, task))
    return bundle.record_graph(data, form, inputs, opset=20, ir_version=10, task=task)


def put_graph(folder: Path, manifest: Manifest, data: bytes, task: str | None = None) -> Manifest:
    """Write a graph in place of the one of its form and task, and return the manifest, which is not written."""
    graph = make_graph(manifest, data, task)
    files.write_bytes(folder / graph.file, data)
    others = [held for held in manifest.graphs if (held.form, held.task) != (graph.form, graph.task)]
    kept = [entry for entry in manifest.parity if entry.graph in {held.file for held in others}]
    return replace(manifest, graphs=(*others, graph), parity=tuple(kept))


def write_merged(folder: Path, manifest: Manifest, graphs: Mapping[str, bytes]) -> Manifest:
    """Give tasks of a bundle merged graphs, task -> its bytes, and return the manifest, which is written."""
    for task, data in graphs.items():
        manifest = put_graph(folder, manifest, data, task)
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
    backbone, preprocess = backbone or make_backbone_spec(), preprocess or make_preprocess_spec()
    records = []
    for adapter in held if held is not None else [make_adapter(backbone=backbone)]:
        identity = Identity(adapter.task, backbone, preprocess)
        data = adapters.pack(adapter.tensors, identity)
        digest = files.sha256_bytes(data)
        path = manifests.tensor_file(adapter.task.name, digest)
        files.write_bytes(folder / path, data)
        records.append(TaskRecord(adapter.task, path, digest))
    manifest = Manifest(
        format_version=manifests.FORMAT_VERSION,
        backbone=backbone,
        preprocess=preprocess,
        slots=tuple(slots),
        tasks=tuple(records),
        versions={"torch": "2.10.0"},
    )
    manifest = put_graph(folder, manifest, graph)
    bundle.write_manifest(folder, manifest)
    return manifest


def make_parity(graph: str, task: str = "pets", max_abs: float = 1e-6) -> ParityRecord:
    """Return what might have been measured of a graph's file."""
    return ParityRecord(
        graph,
        task,
        "onnxruntime",
        "1.23.0",
        "CPUExecutionProvider",
        Precision.FP32,
        32,
        max_abs,
        1e-7,
        1.0,
        1.0,
        1e-4,
        5e-6,
    )


def with_parity(manifest: Manifest) -> Manifest:
    """Return a manifest in which every graph was measured with every task that it answers."""
    names = [record.task.name for record in manifest.tasks]
    parity = [
        make_parity(graph.file, name) for graph in manifest.graphs for name in names if graph.task in (None, name)
    ]
    return replace(manifest, parity=tuple(parity))


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
