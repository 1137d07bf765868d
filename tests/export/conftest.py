"""A small random Vision Transformer, three tasks of different shapes, and their graphs, traced once a session."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
import timm
import torch

from adaptertune_deploy.core.adapter import bank, heads
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.bundle.graph_facts import GraphFacts
from adaptertune_deploy.core.spec import BackboneSpec
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.engine import Engine
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.export.merge import merged_graph
from adaptertune_deploy.export.shared import export_shared
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.backbone import Backbone, weights_sha256
from tests.builders import make_adapter, make_preprocess_spec, make_task

SLOTS = (0, 1, 2)
WIDTH = 48
MakeBackbone = Callable[..., Backbone]
OpenGraph = Callable[[bytes], Engine]


def build_backbone(name: str = "vit_tiny_patch16_224", **options: Any) -> Backbone:
    """Return a frozen timm model of this shape with fixed random weights."""
    torch.manual_seed(0)
    module: Any = timm.create_model(name, num_classes=0, **options).eval().requires_grad_(False)
    size = (options["img_size"], options["img_size"])
    spec = BackboneSpec(
        f"{name}.random", module.embed_dim, len(module.blocks), module.num_features, size, weights_sha256(module)
    )
    return Backbone(module, spec, make_preprocess_spec(size=size))


def scaled_adapter(adapter: Adapter) -> Adapter:
    """Return the adapter with tensors of about the size that training gives them."""
    return Adapter(adapter.task, {name: value * np.float32(0.2) for name, value in adapter.tensors.items()})


def reference(backbone: Backbone, adapter: Adapter, images: Array) -> Array:
    """Return torch's logits, with timm's fused attention and the adapters of model.adapted."""
    network = AdaptedViT(backbone, adapter.task).eval()
    network.load(adapter)
    with torch.no_grad():
        logits: Array = network(torch.from_numpy(images)).numpy()
    return logits


def ask(
    engine: Engine,
    adapters: Sequence[Adapter],
    slots: Sequence[int],
    images: Array,
    image: Sequence[int],
    task: Sequence[int],
) -> list[Array]:
    """Return the logits of rows of an engine with the shared graph: which image each asks about, and for which task."""
    width = engine.inputs[bank.bank_names(slots)[0]].shape[1]
    assert isinstance(width, int)
    ends = [heads.head_of(adapter) for adapter in adapters]
    held = bank.stack([bank.folded_blocks(adapter) for adapter in adapters], slots, width)
    rows = {bank.IMAGES: images, bank.IMAGE: np.array(image, np.int64), bank.TASK: np.array(task, np.int64)}
    return heads.apply(ends, engine.run({**rows, **held})[bank.FEATURES], rows[bank.TASK])


@pytest.fixture(scope="session", autouse=True)
def _uncounted_tracing() -> Iterator[None]:
    """Have coverage look away while torch traces a network, which is torch's code and takes twice as long under it."""
    export = torch.onnx.export

    def uncounted(*arguments: Any, **options: Any) -> Any:
        watcher = sys.gettrace()
        sys.settrace(None)
        try:
            return export(*arguments, **options)
        finally:
            sys.settrace(watcher)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.onnx, "export", uncounted)
        yield


@pytest.fixture(scope="session")
def backbone() -> Backbone:
    return build_backbone(img_size=32, patch_size=8, embed_dim=WIDTH, num_heads=3, depth=3)


@pytest.fixture(scope="session")
def held(backbone: Backbone) -> tuple[Adapter, ...]:
    """Three tasks: other ranks, class counts, blocks and alphas."""
    tasks = (
        make_task("pets", classes=5, rank=4, blocks=(0, 1, 2)),
        make_task("flowers", classes=11, rank=2, blocks=(2,), alpha=0.5),
        make_task("digits", classes=2, rank=6, blocks=(0, 2), alpha=2.0),
    )
    return tuple(scaled_adapter(make_adapter(task, backbone.spec, seed)) for seed, task in enumerate(tasks))


@pytest.fixture(scope="session")
def images(backbone: Backbone) -> Array:
    return np.random.default_rng(1).normal(size=(32, 3, *backbone.spec.image_size)).astype(np.float32)


@pytest.fixture(scope="session")
def expected(backbone: Backbone, held: Sequence[Adapter], images: Array) -> list[Array]:
    """Torch's logits [32, C] of each task."""
    return [reference(backbone, adapter, images) for adapter in held]


@pytest.fixture(scope="session")
def shared_graph(backbone: Backbone) -> bytes:
    return export_shared(backbone, SLOTS)


@pytest.fixture(scope="session")
def last_slot(backbone: Backbone) -> bytes:
    """The shared graph with a slot after the last block only."""
    return export_shared(backbone, SLOTS[-1:])


def merged_of(source: bytes | onnx.ModelProto, backbone: Backbone, adapter: Adapter) -> bytes:
    """Return a task's merged graph, made out of another graph of its backbone."""
    task = adapter.task
    facts = GraphFacts(graph_facts.FORMAT_VERSION, backbone.spec, backbone.preprocess, task.adapter.blocks, task)
    return merged_graph(source, adapter, facts)


@pytest.fixture(scope="session")
def merged_graphs(shared_graph: bytes, backbone: Backbone, held: Sequence[Adapter]) -> list[bytes]:
    return [merged_of(shared_graph, backbone, adapter) for adapter in held]


@pytest.fixture
def open_graph() -> Iterator[OpenGraph]:
    """Open a graph's bytes on the CPU; closed after the test."""
    opened: list[Engine] = []

    def open_bytes(data: bytes) -> Engine:
        opened.append(open_engine(data, "graph", EngineOptions(device="cpu", threads=2)))
        return opened[-1]

    yield open_bytes
    for engine in opened:
        engine.close()
