"""Parity of both graph forms with torch for one backbone of each family of timm's Vision Transformers.

    python -m benchmarks.families.parity --only vit_tiny_patch16_224
    python -m benchmarks.families.parity --weights deit_tiny_patch16_224.safetensors

Each family is exported in a process of its own, which gives its memory back, at two image sizes where it can take two,
with one task of rank 4 after every block and one of rank 2 after the upper half. Weights are drawn, large enough that
every layer matters: LayerScale gammas from N(0, 0.5), whose usual start of 1e-5 would make a block nearly the identity;
--weights gives DeiT-Tiny its real ones. ONNX Runtime runs drawn images in batches of 1, 3 and 8, and one image for
several rows. What was measured already is kept, so the command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import nn

from adaptertune_deploy.bench.machine import describe_machine
from adaptertune_deploy.core.adapter import bank, heads
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.adapter.identity import tensor_shapes
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.bundle.graph_facts import GraphFacts
from adaptertune_deploy.core.errors import AtdError, BackboneError, ExportError
from adaptertune_deploy.core.spec import AdapterSpec, TaskSpec
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.bank.bank import SlotBank
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.options import ON_CPU
from adaptertune_deploy.export.merge import merged_graph
from adaptertune_deploy.export.shared import export_shared
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.backbone import Backbone, load_backbone
from benchmarks import documents
from benchmarks.families.page import page
from benchmarks.families.table import FAMILIES, REAL, REFUSED, Family

RESULTS = documents.results("families")
PAGE = documents.page("families")
LIMIT = 2e-5  # of the largest difference, relative to the largest logit: float32 in another order of sums
IMAGES, BATCHES, ROWS = 8, (1, 3, 8), 5


@dataclass(frozen=True)
class Parity:
    """One family at one image size.

    size: (height, width) in pixels.
    shared, merged: the largest |difference| of a logit from torch's, relative to torch's largest.
    seconds: that tracing and rewriting the shared graph took.
    merge_seconds: that making one merged graph out of it took.
    megabytes: of the shared graph.
    peak_megabytes: of the process's memory.
    """

    size: tuple[int, int]
    pool: str
    shared: float
    merged: float
    seconds: float
    merge_seconds: float
    megabytes: float
    peak_megabytes: float


def draw_weights(module: nn.Module) -> None:
    """Give every parameter values of a trained network's size, by name and shape; buffers stay."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in module.named_parameters():
            mean, deviation = 0.0, 0.5  # embeddings, tokens, LayerScale
            if "gamma" not in name and name.endswith("weight"):
                mean, deviation = (0.0, (value.numel() / len(value)) ** -0.5) if value.ndim > 1 else (1.0, 0.1)
            elif name.endswith("bias") and value.ndim == 1:
                deviation = 0.1
            value.normal_(mean, deviation, generator=draw)


def make_adapters(backbone: Backbone) -> list[Adapter]:
    """Return a task of rank 4 after every block and one of rank 2 after the upper half, of other class counts."""
    draw, depth = np.random.default_rng(0), backbone.spec.depth
    shapes = {
        "all": AdapterSpec(4, 1.0, tuple(range(depth))),
        "upper": AdapterSpec(2, 0.5, tuple(range(depth // 2, depth))),
    }
    adapters = []
    for place, (name, shape) in enumerate(shapes.items()):
        task = TaskSpec(name, tuple(f"class {index}" for index in range(5 + 2 * place)), shape)
        tensors = {
            tensor: (draw.normal(size=sizes) * (0.5 * sizes[-1] ** -0.5 if len(sizes) > 1 else 0.1)).astype(np.float32)
            for tensor, sizes in tensor_shapes(task, backbone.spec).items()
        }
        adapters.append(Adapter(task, tensors))
    return adapters


def measure(backbone: Backbone) -> Parity:
    """Export both forms of a backbone and compare them with torch.

    Raises:
        ExportError: a graph can't be made.
    """
    spec, adapters = backbone.spec, make_adapters(backbone)
    images = np.random.default_rng(1).normal(size=(IMAGES, 3, *spec.image_size)).astype(np.float32)
    expected = [torch_logits(backbone, adapter, images) for adapter in adapters]
    started = time.perf_counter()
    data = export_shared(backbone, range(spec.depth))
    traced = time.perf_counter()
    merged = [merged_graph(data, adapter, _facts(backbone, adapter)) for adapter in adapters]
    merging = (time.perf_counter() - traced) / len(adapters)
    return Parity(
        size=spec.image_size,
        pool=spec.pool,
        shared=shared_difference(data, backbone, adapters, images, expected),
        merged=max(merged_difference(graph, images, wanted) for graph, wanted in zip(merged, expected, strict=True)),
        seconds=traced - started,
        merge_seconds=merging,
        megabytes=len(data) / 1e6,
        peak_megabytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


@torch.no_grad()
def torch_logits(backbone: Backbone, adapter: Adapter, images: Array) -> Array:
    """Return torch's logits [N, C], with the adapters of model.adapted and timm's own attention."""
    network = AdaptedViT(backbone, adapter.task).eval()
    network.load(adapter)
    logits: Array = network(torch.from_numpy(images)).numpy()
    return logits


def shared_difference(
    data: bytes, backbone: Backbone, adapters: list[Adapter], images: Array, expected: list[Array]
) -> float:
    """Return the largest relative difference of the shared graph's logits, with both tasks in every batch."""
    ends = [heads.head_of(adapter) for adapter in adapters]
    worst = 0.0
    with closing(open_engine(data, "the shared graph", ON_CPU)) as engine:
        held = SlotBank(engine, range(backbone.spec.depth), backbone.spec.width, backbone.spec.features)
        handles = [held.write(adapter) for adapter in adapters]
        for count, rows in [*((batch, batch) for batch in BATCHES), (1, ROWS)]:
            image, task = np.arange(rows) % count, np.arange(rows) % len(adapters)
            features = held.features(images[:count], image, [handles[place] for place in task])
            found = heads.apply(ends, features, task)
            for row, logits in enumerate(found):
                wanted = expected[task[row]]
                worst = max(worst, _relative(logits, wanted[image[row]], wanted))
    return worst


def merged_difference(data: bytes, images: Array, expected: Array) -> float:
    """Return the largest relative difference of a merged graph's logits."""
    with closing(open_engine(data, "the merged graph", ON_CPU)) as engine:
        found = {count: engine.run({bank.IMAGES: images[:count]})[bank.LOGITS] for count in BATCHES}
    return max(_relative(logits, expected[:count], expected) for count, logits in found.items())


def _relative(found: Array, wanted: Array, all_wanted: Array) -> float:
    return float(np.abs(found - wanted).max() / np.abs(all_wanted).max())


def _facts(backbone: Backbone, adapter: Adapter) -> GraphFacts:
    blocks = adapter.task.adapter.blocks
    return GraphFacts(graph_facts.FORMAT_VERSION, backbone.spec, backbone.preprocess, blocks, adapter.task)


def load(family: Family, size: int, weights: Path | None) -> Backbone:
    """Return a family's backbone at an image size, with drawn weights or DeiT-Tiny's real ones."""
    if weights is not None and family.timm == REAL:
        return load_backbone(family.timm, weights, image_size=(size, size))
    backbone = load_backbone(f"{family.timm}.random", image_size=(size, size), allow_random=True)
    draw_weights(backbone.module)
    return backbone


def run_one(name: str, size: int | None, weights: Path | None) -> dict[str, Any]:
    """Return one row's facts: what a process of its own prints; without a size, the sentence that refuses a name."""
    if size is None:
        try:
            load_backbone(name)
        except BackboneError as error:
            return {"refused": str(error)}
        return {"failed": "it loads"}
    family = next(family for family in FAMILIES if family.timm == name)
    try:
        return dataclasses.asdict(measure(load(family, size, weights)))
    except AtdError as error:
        return {"refused" if isinstance(error, (BackboneError, ExportError)) else "failed": str(error)}


def in_a_process(name: str, size: int | None, weights: Path | None) -> dict[str, Any]:
    """Run run_one in a process of its own, without a network."""
    given = [
        "--child",
        name,
        *(["--size", str(size)] if size else []),
        *(["--weights", str(weights)] if weights else []),
    ]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.families.parity", *given],
        env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return {"failed": (done.stderr.strip().splitlines() or ["no word"])[-1][:300]}
    facts: dict[str, Any] = json.loads(lines[-1])
    return facts


def missing(rows: list[dict[str, Any]], only: list[str]) -> list[tuple[str, int | None]]:
    """Return what is still to be measured: (timm name, image size), None as size for a name that is to be refused."""
    there = {(row["timm"], row["asked"]) for row in rows}
    wanted = [(family.timm, size) for family in FAMILIES for size in family.sizes] + [(name, None) for name in REFUSED]
    return [one for one in wanted if one not in there and (not only or one[0] in only)]


def main(arguments: list[str]) -> None:
    """Measure what is missing, write the numbers after each, and the page at the end."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.families.parity", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a timm name; may be repeated")
    parser.add_argument("--weights", type=Path, help=f"real weights of {REAL}")
    parser.add_argument("--fresh", action="store_true", help="measure everything again")
    parser.add_argument("--json", type=Path, default=RESULTS, help="file for the numbers (default: %(default)s)")
    parser.add_argument("--page", type=Path, default=PAGE, help="page made of them (default: %(default)s)")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.child:
        print(json.dumps(run_one(given.child, given.size, given.weights)))
        return
    console, machine = Console(), dataclasses.asdict(describe_machine())
    rows: list[dict[str, Any]] = []
    if given.json.exists():
        old = json.loads(given.json.read_text())
        rows = [row for row in old if not given.fresh or (given.only and row["timm"] not in given.only)]
    given.json.parent.mkdir(parents=True, exist_ok=True)
    for name, size in track(missing(rows, given.only), "measuring", console=console):
        facts = in_a_process(name, size, given.weights)
        real = given.weights is not None and name == REAL
        rows.append({"timm": name, "asked": size, "real": real, "machine": machine, **facts})
        given.json.write_text(json.dumps(rows, indent=1) + "\n")
        console.print(f"{name} {size or ''}: {_told(facts)}")
    given.page.parent.mkdir(parents=True, exist_ok=True)
    given.page.write_text(page(rows, LIMIT))
    console.print(f"numbers in {given.json}, page in {given.page}")


def _told(facts: dict[str, Any]) -> str:
    if "shared" not in facts:
        return str(facts)
    mark = "" if max(facts["shared"], facts["merged"]) <= LIMIT else f", MORE THAN {LIMIT:g}"
    return f"shared {facts['shared']:.1e}, merged {facts['merged']:.1e}, {facts['seconds']:.1f} s{mark}"


if __name__ == "__main__":
    main(sys.argv[1:])
