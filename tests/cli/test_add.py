from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.cli.terminal import console
from adaptertune_deploy.core.adapter.folder import read_config, read_folder_tensors, write_config, write_tensors
from adaptertune_deploy.core.bundle import publish
from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.core.bundle.manifest import graph_file, select_graph
from adaptertune_deploy.core.images.preprocess import preprocess
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.storage import tensors
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines import table
from adaptertune_deploy.engines.options import ON_CPU
from adaptertune_deploy.serve.sessions.session import open_session
from tests.builders import give_reference, make_nested, make_widths
from tests.cli.conftest import GOLDEN, Atd


def test_a_task_is_added_and_what_it_means_is_said(atd: Atd, folder: Path) -> None:
    done = atd("add", "adapters/trees")
    assert done.code == 0
    assert [record.task.name for record in read_manifest(folder / "bundle").tasks] == ["birds", "cars", "trees"]
    lines = done.out.splitlines()
    assert lines[0].startswith("added trees to bundle/ (")
    assert lines[0].endswith("): 3 tasks, the graph is unchanged")
    assert lines[1:] == ["next: atd serve --adapters birds,cars,trees"]
    assert done.err.splitlines() == [
        "note: the tensors of trees were checked; its answers were not verified: adapters/trees holds none of torch's "
        "answers, it was trained by an older release",
        "note: a running server serves it at once with --watch, else after a restart or SIGHUP",
    ]


@pytest.mark.parametrize(
    ("arguments", "words", "rank"),
    [([], "rank 3", 3), (["--ship", "head"], "head only", 0), (["--ship", "adapter"], "rank 3", 3)],
)
def test_what_ships_is_said(atd: Atd, folder: Path, arguments: list[str], words: str, rank: int) -> None:
    done = atd("add", "adapters/trees", *arguments)
    assert done.out.startswith(f"added trees to bundle/ ({words}, ")
    record = read_manifest(folder / "bundle").tasks[-1]
    assert (record.task.adapter.rank, record.task.temperature) == (rank, 1.0 if rank else 0.75)


def test_an_unknown_candidate_is_one_line(atd: Atd) -> None:
    done = atd("add", "adapters/trees", "--ship", "adaptr")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: --ship: no candidate 'adaptr', only auto, adapter, head, full. Did you mean 'adapter'?\n"
    )


def test_json_names_the_file(atd: Atd, folder: Path) -> None:
    done = atd("add", "adapters/trees", "--json")
    facts = json.loads(done.out)
    assert set(facts) == {"task", "rank", "file", "merged", "parity", "not_verified", "seconds"}
    assert (facts["task"], facts["rank"], facts["merged"], facts["parity"]) == ("trees", 3, [], [])
    assert facts["not_verified"].startswith("adapters/trees holds none of torch's answers")
    assert (folder / facts["file"]).is_file()


@pytest.fixture
def answered(folder: Path) -> dict[str, Array]:
    """Give adapters/trees torch's answers to four samples, and return them."""
    pictures = [path.read_bytes() for path in sorted((folder / "images").iterdir())]
    golden = tensors.unpack(
        (GOLDEN / "logits.safetensors").read_bytes(),
        {"birds": (4, 3), "cars": (4, 5), "trees": (4, 4), "cars-adapter": (4, 5)},
        "golden",
    )
    answers = {"adapter": golden["trees"], "head": np.zeros((4, 4), np.float32)}  # those of the head are wrong
    give_reference(folder / "adapters" / "trees", pictures, answers)
    return answers


def test_a_task_is_verified_before_it_is_added(atd: Atd, folder: Path, answered: dict[str, Array]) -> None:
    done = atd("add", "adapters/trees")
    assert (done.code, done.err) == (
        0,
        "note: a running server serves it at once with --watch, else after a restart or SIGHUP\n",
    )
    assert re.fullmatch(
        r"verified in fp32 by onnxruntime on 4 images against torch's answers of the training: max diff \d\.\de-\d\d",
        done.out.splitlines()[1],
    )
    (entry,) = read_manifest(folder / "bundle").parity_of("trees")
    assert (entry.images, entry.engine, entry.provider) == (4, "onnxruntime", "CPUExecutionProvider")
    assert entry.max_abs < 1e-5


@pytest.mark.parametrize(
    ("precision", "words"),
    [
        ("bf16", "--precision bf16: ONNX Runtime runs no bf16 graphs on a CPU; choose another --engine or --precision"),
        (
            "int8",
            "the bundle holds no shared int8 graph, only shared fp32, bf16 and merged fp32 of birds, cars; make ",
        ),
    ],
)
def test_a_precision_that_can_not_be_verified_is_refused(
    atd: Atd, folder: Path, answered: dict[str, Array], precision: str, words: str
) -> None:
    with_bf16(folder / "bundle")
    before = {path: path.read_bytes() for path in (folder / "bundle").rglob("*") if path.is_file()}
    done = atd("add", "adapters/trees", "--precision", precision)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {words}")
    assert {path: path.read_bytes() for path in (folder / "bundle").rglob("*") if path.is_file()} == before


def with_bf16(bundle: Path) -> None:
    """Name the shared graph's file as one in bf16 too."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    shared = next(graph for graph in manifest["graphs"] if graph["form"] == "shared")
    sha256 = "0" * 64
    file = graph_file("shared", Precision.BF16, sha256)
    shutil.copy(bundle / shared["file"], (bundle / file).parent.mkdir(exist_ok=True) or bundle / file)
    manifest["graphs"].append({**shared, "file": file, "precision": "bf16", "sha256": sha256})
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def test_what_another_engine_measured_before_is_not_told_as_measured_now(
    atd: Atd, folder: Path, answered: dict[str, Array]
) -> None:
    assert atd("add", "adapters/trees").code == 0
    manifest = json.loads((folder / "bundle" / "manifest.json").read_text())
    (mine,) = (entry for entry in manifest["parity"] if entry["task"] == "trees")
    manifest["parity"].append({**mine, "engine": "openvino", "precision": "bf16", "max_abs": 0.01})
    (folder / "bundle" / "manifest.json").write_text(json.dumps(manifest))
    done = atd("add", "adapters/trees")
    assert [line for line in done.out.splitlines() if line.startswith("verified")] == [
        line for line in done.out.splitlines() if line.startswith("verified in fp32 by onnxruntime on 4 images")
    ]
    facts = json.loads(atd("add", "adapters/trees", "--json").out)
    assert [(entry["engine"], entry["precision"]) for entry in facts["parity"]] == [("onnxruntime", "fp32")]
    assert len(read_manifest(folder / "bundle").parity_of("trees")) == 2


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is an extra of its own")
def test_a_task_is_verified_on_the_engine_that_is_named(atd: Atd, folder: Path, answered: dict[str, Array]) -> None:
    assert atd("add", "adapters/trees", "--engine", "openvino").code == 0
    (entry,) = read_manifest(folder / "bundle").parity_of("trees")
    assert (entry.images, entry.engine, entry.provider, entry.precision.value) == (4, "openvino", "CPU", "fp32")
    assert entry.max_abs < 1e-4


def test_a_task_that_differs_is_not_added(atd: Atd, folder: Path, answered: dict[str, Array]) -> None:
    before = {path: path.read_bytes() for path in (folder / "bundle").rglob("*") if path.is_file()}
    done = atd("add", "adapters/trees", "--ship", "head")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert done.err.startswith("error: the shared fp32 graph with task 'trees' differs from torch by up to ")
    assert {path: path.read_bytes() for path in (folder / "bundle").rglob("*") if path.is_file()} == before


def test_without_its_images_a_task_is_added_and_that_is_said(
    atd: Atd, folder: Path, answered: dict[str, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATD_CACHE", str(folder / "cache"))
    shutil.rmtree(folder / "adapters" / "trees" / "samples")
    done = atd("add", "adapters/trees")
    assert done.code == 0
    assert "not verified: none of the images that training held back is on this machine" in done.err


def test_without_an_engine_a_task_is_added_and_that_is_said(
    atd: Atd, answered: dict[str, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "is_installed", lambda name: False)
    done = atd("add", "adapters/trees")
    assert done.code == 0
    assert "not verified: ONNX Runtime is not installed here; pip install 'adaptertune-deploy[cpu]'" in done.err


def test_its_graph_of_its_own_comes_with_merge(atd: Atd, folder: Path, answered: dict[str, Array]) -> None:
    done = atd("add", "adapters/trees", "--merge", "--json")
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    (merged,) = facts["merged"]
    assert re.fullmatch(r"bundle/merged/trees-fp32-\w{8}\.onnx", merged)
    assert [entry["graph"] for entry in facts["parity"]] == [
        select_graph(read_manifest(folder / "bundle"), "shared").file,
        merged.removeprefix("bundle/"),
    ]
    session = open_session(folder / "bundle", ["trees"], "merged", options=ON_CPU)
    spec = read_manifest(folder / "bundle").preprocess
    pixels = np.stack([preprocess(path.read_bytes(), spec) for path in sorted((folder / "images").iterdir())])
    rows = session.run(pixels, np.arange(4, dtype=np.int64), np.zeros(4, dtype=np.int64))
    session.close()
    np.testing.assert_allclose(np.stack(rows), answered["adapter"], atol=1e-5)


def test_merge_without_onnx_is_one_line_and_nothing_is_written(
    atd: Atd, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / "bundle" / "manifest.json").read_bytes()
    monkeypatch.delitem(sys.modules, "adaptertune_deploy.export.merge", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    done = atd("add", "adapters/trees", "--merge")
    assert (done.code, done.out) == (1, "")
    assert done.err == "error: add needs onnx, which is not installed; pip install 'adaptertune-deploy[export]'\n"
    assert (folder / "bundle" / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("place", ["o ü 1", "mein Ordner ä/日本/bündel"])
def test_the_next_command_works_as_printed(atd: Atd, folder: Path, place: str) -> None:
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    shutil.move("bundle", place)
    done = atd("add", "adapters/trees", "--bundle", place)
    assert done.out.splitlines()[1] == f"next: atd serve --adapters birds,cars,trees --bundle '{place}'"


def test_a_folder_of_adapters_is_one_line(atd: Atd) -> None:
    done = atd("add", "adapters")
    assert (done.code, done.out) == (2, "")
    named = "adapters/birds, adapters/cars, adapters/trees"
    assert done.err == f"error: adapters: holds adapters and is none itself; give one of {named}\n"


def test_an_absent_adapter_is_one_line(atd: Atd) -> None:
    done = atd("add", "adapters/fish")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: adapters/fish: no such adapter folder; known: adapters/birds")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_says_what_is_there(
    atd: Atd, folder: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    before = (folder / "bundle" / "manifest.json").read_bytes()
    monkeypatch.setattr(publish.Writer, "publish", lambda *_: os.kill(os.getpid(), number))
    done = atd("add", "adapters/trees")
    assert (done.code, done.out, done.err) == (code, "", "stopped; nothing was written, bundle/ is as it was\n")
    assert (folder / "bundle" / "manifest.json").read_bytes() == before
    assert not list((folder / "bundle" / "adapters").glob("trees*"))


def test_a_pipe_gets_whole_lines(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert console.out.is_terminal is False
    assert len(atd("add", "adapters/trees").out.splitlines()) == 2


def test_nested_adapters_are_cut_and_answer_as_with_the_other_units_at_zero(atd: Atd, folder: Path) -> None:
    make_nested(folder / "adapters" / "trees", make_widths(1, 2, 3))
    shutil.copytree(folder / "bundle", folder / "other")
    shutil.copytree(folder / "adapters" / "trees", folder / "zeroed" / "trees")
    done = atd("add", "adapters/trees", "--rank", "2")
    assert done.code == 0
    assert done.out.startswith("added trees to bundle/ (rank 2, ")
    assert done.out.splitlines()[1].startswith("trees cut to rank 2 of 3: ")
    assert "out of fold on 378 images: accuracy 89.0 % at rank 2, 90.0 % at 3" in done.out
    zeroed = folder / "zeroed" / "trees"
    config = read_config(zeroed)
    held = tensors.unpack(read_folder_tensors(zeroed, config), config.identity.shapes, "zeroed")
    for name, value in held.items():
        if name.endswith("up.weight"):
            value[:, 2:] = 0
    config = replace(config, task=replace(config.task, temperature=config.widths[1].temperature), widths=())
    write_config(zeroed, replace(config, tensors_sha256=write_tensors(zeroed, held, config.identity)))
    assert atd("add", "zeroed/trees", "--bundle", "other").code == 0
    pixels = np.stack(
        [preprocess(path.read_bytes(), config.preprocess) for path in sorted((folder / "images").iterdir())]
    )
    rows, answers = np.arange(len(pixels)), []
    for place in ("bundle", "other"):
        session = open_session(folder / place, ["trees"])
        answers.append(np.stack(session.run(pixels, rows, np.zeros_like(rows))))
        session.close()
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-5)
    assert [
        record.task.adapter.rank for record in read_manifest(folder / "bundle").tasks if record.task.name == "trees"
    ] == [2]


def test_what_is_not_nested_is_not_cut(atd: Atd, folder: Path) -> None:
    for command in (["add", "adapters/trees"], ["export", "--adapters", "trees", "--out", "new"]):
        done = atd(*command, "--rank", "2")
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert "--rank 2: task 'trees' has rank 3 and is not nested, so it can't be cut; train it again" in done.err
    assert atd("add", "adapters/trees", "--rank", "0").err.startswith("error: --rank 0: expected a whole number from 1")
