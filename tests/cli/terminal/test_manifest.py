from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from adaptertune_deploy.core.bundle.folder import read_manifest, write_manifest
from adaptertune_deploy.core.precision import Precision
from tests.cli.conftest import Atd


def cells(printed: str) -> list[list[str]]:
    return [re.split(r" {2,}", line) for line in printed.splitlines()]


def test_every_graph_is_shown_with_what_it_is_and_how_far_it_lies_from_torch(atd: Atd, measured: Path) -> None:
    done = atd("list")
    assert (done.code, done.err) == (0, "")
    title, names, *rows = cells(done.out)
    assert title == ["bundle/: 2 tasks on vit_golden_patch8_32.random, graphs against torch"]
    assert names == [
        "task",
        "ships",
        "graph",
        "measured on",
        "images",
        "max diff",
        "mean",
        "cosine",
        "same top-1",
        "size",
    ]
    values = ["onnxruntime CPU", "32", "1.0e-06", "1.0e-07", "1.0000000", "100 %"]
    manifest = read_manifest(measured)
    sizes = [f"{graph.bytes / 1000:.0f} kB" for graph in manifest.graphs]
    assert [row[:-1] for row in rows] == [
        ["birds", "rank 2", "shared fp32", *values],
        ["birds", "rank 2", "merged fp32", *values],
        ["cars", "head only", "shared fp32", *values],
        ["cars", "head only", "merged fp32", "nothing"],
        ["(backbone)", "shared fp32"],
    ]
    assert [rows[place][-1] for place in (4, 1, 3)] == sizes
    assert all(rows[place][-1].startswith("+ ") for place in (0, 2))


def test_a_graph_that_was_computed_in_another_precision_says_so(atd: Atd, measured: Path) -> None:
    manifest = read_manifest(measured)
    entry = replace(manifest.parity[0], engine="openvino", provider="CPU", precision=Precision.BF16)
    write_manifest(measured, replace(manifest, parity=(*manifest.parity, entry)))
    rows = cells(atd("list").out)[2:4]
    assert [row[:4] for row in rows] == [
        ["birds", "rank 2", "shared fp32", "onnxruntime CPU"],
        ["birds", "rank 2", "shared fp32", "openvino CPU in bf16"],
    ]


def test_a_task_without_its_file_is_shown_as_such(atd: Atd, measured: Path) -> None:
    (measured / read_manifest(measured).tasks[0].file).unlink()
    assert "+ absent" in atd("list").out
