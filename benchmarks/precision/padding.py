"""Padded tokens on OpenVINO: rows of a product alone, and whole graphs against the same graphs without padding.

    python -m benchmarks.precision.padding --data DIR --weights FILE

DIR holds flowers/, weights are those of DeiT-Tiny. Prints the tables of docs/decisions/0047; graphs run in one process,
interleaved, as ratios round by round, and are padded on processors with AMX too, where the product pads nothing. Wants
a quiet machine; three minutes on two cores.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import numpy as np

from adaptertune_deploy.bench.interleaved import Closeable, Opener, Run, time_interleaved
from adaptertune_deploy.bench.spread import Spread, ratios
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.openvino import model as openvino_model
from adaptertune_deploy.engines.openvino.compiling import compile_model
from adaptertune_deploy.engines.openvino.library import operators, ov
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.engines.table import graph_precision
from benchmarks import backbones
from benchmarks.precision import timing

ROWS = (192, 196, 197, 198, 200, 201, 204, 208, 257, 258, 261, 264)
WIDTH, HIDDEN, LAYERS = 384, 1536, 8  # of ViT-S
ARMS = {
    "bf16": EngineOptions("openvino", "cpu", Precision.BF16),
    "int8-qdq": EngineOptions("openvino", "cpu", Precision.INT8_QDQ),
    "int8-qdq, rest bf16": EngineOptions("openvino", "cpu", Precision.INT8_QDQ, 0, {"rest": "bf16"}),
}


def products(rows: int) -> Opener:
    """Return how to open a chain of products in bfloat16, as wide as an MLP of ViT-S, for this number of rows."""
    draw = np.random.default_rng(0)
    given = found = operators.parameter([1, rows, WIDTH], np.float32)
    for layer in range(LAYERS):
        sizes = (WIDTH, HIDDEN) if layer % 2 == 0 else (HIDDEN, WIDTH)
        weight = operators.constant((draw.normal(size=sizes) / sizes[0] ** 0.5).astype(np.float32))
        found = operators.matmul(found, weight, False, False)
    model, image = ov.Model([found], [given]), draw.normal(size=(1, rows, WIDTH)).astype(np.float32)
    hints = {"INFERENCE_PRECISION_HINT": "bf16", "PERFORMANCE_HINT": "LATENCY"}

    def open_products() -> tuple[Closeable, Run]:
        request = compile_model(ov.Core(), model, hints).create_infer_request()
        return contextlib.ExitStack(), lambda: request.infer([image])

    return open_products


def padded(opener: Opener, pads: bool) -> Opener:
    """Return how to open the same graph with padding or with the tokens that it has, whatever the processor."""

    def opened() -> tuple[Closeable, Run]:
        with mock.patch.object(openvino_model, "pays_here", return_value=pads):
            return opener()

    return opened


def rows_of_products(rounds: int) -> None:
    """Print how fast products of some numbers of rows are."""
    seconds = time_interleaved({str(rows): products(rows) for rows in ROWS}, rounds, 2, timing.CLOCKS["wall"])
    print(f"| rows | us a product of {WIDTH} x {HIDDEN} | TFLOP/s |\n|---:|---:|---:|")
    for rows in ROWS:
        each = Spread.of([value / LAYERS for value in seconds[str(rows)]]).median
        print(f"| {rows} | {1e6 * each:.0f} | {2e-12 * rows * WIDTH * HIDDEN / each:.2f} |")


def whole_graphs(data: Path, weights: Path, batches: Sequence[int], rounds: int, say: Callable[[str], None]) -> None:
    """Print what padding does to shared graphs with mixed rows and to merged ones."""
    say("| model | images | graph | ms without | ratio with |\n|---|---:|---|---:|---:|")
    for name in timing.MODELS.split(","):
        with tempfile.TemporaryDirectory() as folder:
            backbone = timing.backbone_of(name, weights)
            graphs = timing.write_graphs(backbone, data, set(map(graph_precision, ARMS.values())), Path(folder))
            for batch in batches:
                openers = timing.openers_of(graphs, ARMS, backbones.make_images(backbone, batch))
                for graph, opener in openers.items():
                    arms = {"without": padded(opener, False), "with": padded(opener, True)}
                    seconds = time_interleaved(arms, rounds, 3, timing.CLOCKS["wall"])
                    ratio = ratios(seconds["with"], seconds["without"])
                    milliseconds = 1e3 * Spread.of(seconds["without"]).median
                    say(f"| {name} | {batch} | {graph} | {milliseconds:.1f} | {ratio.median:.3f} |")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds flowers/")
    parser.add_argument("--weights", type=Path, required=True, help="DeiT-Tiny's weights")
    parser.add_argument("--batches", default="1,2,8", help="batch sizes (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=24, help="times that each graph runs (default: %(default)s)")
    given = parser.parse_args()
    rows_of_products(given.rounds)
    batches = [int(batch) for batch in given.batches.split(",")]
    whole_graphs(given.data, given.weights, batches, given.rounds, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
