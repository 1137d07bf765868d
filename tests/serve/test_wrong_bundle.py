"""A bundle that was mixed up, edited or damaged: one line that names the file, before anything is served."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import GraphRecord, select_graph
from adaptertune_deploy.core.errors import AtdError
from adaptertune_deploy.core.storage.held_file import HeldFile
from adaptertune_deploy.engines.onnxruntime import engine as ort
from adaptertune_deploy.engines.onnxruntime.derived import derive
from adaptertune_deploy.engines.options import ON_CPU
from adaptertune_deploy.serve.sessions.session import open_session
from tests.builders import put_graph, write_merged

GOLDEN = Path(__file__).parents[1] / "device" / "golden"
Change = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / "bundle", tmp_path / "bundle"))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Edit manifest.json as a person with an editor would."""
    path = folder / bundle.MANIFEST_NAME
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def graph_file(folder: Path, form: str) -> Path:
    manifest = bundle.read_manifest(folder)
    task = None if form == "shared" else manifest.tasks[0].task.name
    return folder / select_graph(manifest, form, task=task).file


def swap_graphs(folder: Path) -> None:
    manifest = bundle.read_manifest(folder)
    birds, cars = (bundle.read_graph(folder, graph) for graph in manifest.graphs if graph.task)
    write_merged(folder, manifest, {"birds": cars, "cars": birds})


def rewrite_graphs(folder: Path, old: bytes, new: bytes) -> None:
    """Replace bytes in every graph, with hashes to match."""
    manifest = bundle.read_manifest(folder)
    for graph in manifest.graphs:
        data = bundle.read_graph(folder, graph).replace(old, new)
        manifest = put_graph(folder, manifest, data, graph.task)
    bundle.write_manifest(folder, manifest)


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def set_labels(data: dict[str, Any], labels: list[str]) -> None:
    data["tasks"][0]["task"]["labels"] = labels


# name -> (what happened, forms it concerns, what the one line says)
WRONG: dict[str, tuple[Change, str, str]] = {
    "merged graphs swapped": (swap_graphs, "merged", "says it answers task 'cars', the manifest says 'birds'"),
    "labels in another order": (
        lambda at: edit(at, lambda data: data["tasks"][0]["task"]["labels"].reverse()),
        "merged",
        "says label 0 is 'birds 0', the manifest says 'birds 2'",
    ),
    "a label edited": (
        lambda at: edit(at, lambda data: data["tasks"][0]["task"]["labels"].__setitem__(1, "banana")),
        "shared",
        "labels, alpha, blocks, temperature, what ships, backbone or preprocessing of task 'birds' are not those",
    ),
    "fewer labels than logits": (
        lambda at: edit(at, lambda data: set_labels(data, ["a", "b"])),
        "merged",
        "says it has 3 labels, the manifest says 2",
    ),
    "30 labels for 3 logits": (
        lambda at: edit(at, lambda data: set_labels(data, [str(place) for place in range(30)])),
        "merged",
        "says it has 3 labels, the manifest says 30",
    ),
    "another backbone": (
        lambda at: edit(at, lambda data: data["backbone"].update(sha256="0" * 64)),
        "both",
        "the manifest says 000000000000...",
    ),
    "another image size": (
        lambda at: edit(at, lambda data: data["backbone"].update(image_size=[64, 64])),
        "merged",
        "says backbone.image_size is (32, 32), the manifest says (64, 64)",
    ),
    "another mean": (
        lambda at: edit(at, lambda data: data["preprocess"].update(mean=[0.5, 0.5, 0.5])),
        "merged",
        "says preprocess.mean is (0.485, 0.456, 0.406), the manifest says (0.5, 0.5, 0.5)",
    ),
    "large images": (
        lambda at: edit(at, lambda data: data["preprocess"].update(size=[2000, 2000])),
        "merged",
        "says preprocess.size is (32, 32), the manifest says (2000, 2000)",
    ),
    "images of 100,000 pixels a side": (
        lambda at: edit(at, lambda data: data["preprocess"].update(size=[100_000, 100_000])),
        "both",
        "manifest.json",
    ),
    "images of 2^40 pixels a side": (
        lambda at: edit(at, lambda data: data["preprocess"].update(size=[1 << 40, 1 << 40])),
        "both",
        "manifest.json",
    ),
    "other slots": (
        lambda at: edit(at, lambda data: data.update(slots=[1, 2])),
        "shared",
        "says slots is (0, 1, 2), the manifest says (1, 2)",
    ),
    "alpha edited": (
        lambda at: edit(at, lambda data: data["tasks"][0]["task"]["adapter"].update(alpha=50)),
        "merged",
        "says task.adapter.alpha is 0.5, the manifest says 50",
    ),
    "an output of another name": (
        lambda at: rewrite_graphs(at, b"logits", b"answer"),
        "merged",
        "has an output 'answer' that no graph of its form has",
    ),
    "features of another name": (
        lambda at: rewrite_graphs(at, b"\x08features", b"\x08answered"),
        "shared",
        "has an output 'answered' that no graph of its form has",
    ),
    "facts removed": (
        lambda at: rewrite_graphs(at, b"adaptertune\x12", b"adaptertuna\x12"),
        "both",
        "says nothing about its task and preprocessing",
    ),
    "a loop": (lambda at: rewrite_graphs(at, b"\x04Gelu", b"\x04Loop"), "both", "holds the operator 'Loop'"),
    "a FIFO, shared": (lambda at: replace_by_fifo(graph_file(at, "shared")), "shared", "backbone-"),
    "a FIFO, merged": (lambda at: replace_by_fifo(graph_file(at, "merged")), "merged", "merged/birds-"),
    "absent": (lambda at: graph_file(at, "shared").unlink(), "shared", "no such file, though the manifest names it"),
    "cut off": (
        lambda at: graph_file(at, "merged").write_bytes(graph_file(at, "merged").read_bytes()[:-100]),
        "merged",
        "the manifest says",
    ),
}


@pytest.mark.case(
    "B6", "bundles mixed up, edited or damaged", "one line that names the file, before anything is served"
)
@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_bundle_is_one_line_that_names_the_file(folder: Path, what: str) -> None:
    change, forms, message = WRONG[what]
    change(folder)
    for form in ("shared", "merged") if forms == "both" else (forms,):
        with pytest.raises(AtdError) as caught:
            open_session(folder, form=form, options=ON_CPU)
        text = str(caught.value)
        assert text.isprintable()
        assert text.startswith(str(folder))
        assert message in text


def test_the_hashed_bytes_run_whatever_lies_at_the_path_by_then(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []
    path = graph_file(folder, "shared")
    whole = path.read_bytes()
    real = ort.ort.InferenceSession

    def read_graph(at: Path, record: GraphRecord, held: HeldFile | None = None) -> bytes:
        data = read(at, record, held)
        path.write_bytes(b"replaced")
        return data

    def session(graph: object, *arguments: Any, **rest: Any) -> Any:
        given.append(graph)
        return real(graph, *arguments, **rest)

    read = bundle.read_graph
    monkeypatch.setattr(bundle, "read_graph", read_graph)
    monkeypatch.setattr(ort.ort, "InferenceSession", session)
    open_session(folder, options=ON_CPU).close()
    assert given == [derive(whole, "graph").graph]  # derived in memory, out of the bytes that were hashed


@pytest.mark.parametrize("what", ["fewer labels than logits", "a loop", "a FIFO, merged"])
@pytest.mark.parametrize("command", ["serve", "predict"])
def test_a_command_ends_with_one_line_and_1(folder: Path, what: str, command: str) -> None:
    """It never listens, hangs or prints a traceback."""
    WRONG[what][0](folder)
    arguments = [command, "--bundle", str(folder), "--form", "merged", "--device", "cpu"]
    arguments += ["--port", "0"] if command == "serve" else [str(GOLDEN / "images" / "0.png")]
    done = subprocess.run(
        [sys.executable, "-m", "adaptertune_deploy", *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert WRONG[what][2] in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
