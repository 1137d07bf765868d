from __future__ import annotations

import dataclasses
import importlib.util
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from adaptertune_deploy.cli.predict import show
from adaptertune_deploy.core.adapter.folder import read_adapter
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.storage import tensors
from adaptertune_deploy.serve.answers import Answer, Label
from tests.cli.conftest import GOLDEN, Atd

SHAPES = {"birds": (4, 3), "cars": (4, 5), "trees": (4, 4), "cars-adapter": (4, 5)}
LOGITS = tensors.unpack((GOLDEN / "logits.safetensors").read_bytes(), SHAPES, "golden")


def test_every_image_is_answered_for_every_task_in_order(atd: Atd) -> None:
    answers = json.loads(atd("predict", "images/0.png", "images/3.png", "--json").out)
    assert [(answer["file"], answer["task"]) for answer in answers] == [
        ("images/0.png", "birds"), ("images/0.png", "cars"), ("images/3.png", "birds"), ("images/3.png", "cars"),
    ]  # fmt: skip
    best = [answer["top"][0]["index"] for answer in answers if answer["task"] == "cars"]
    assert best == LOGITS["cars"].argmax(axis=1)[[0, 3]].tolist()


def test_the_table_names_the_label_and_its_probability(atd: Atd) -> None:
    logits = LOGITS["birds"][1].astype(np.float64)
    probability = np.exp(logits - logits.max()).max() / np.exp(logits - logits.max()).sum()
    done = atd("predict", "images/1.png", "--adapters", "birds")
    assert f"birds {logits.argmax()}" in done.out
    assert f"{100 * probability:.1f} %" in done.out


def test_an_image_comes_from_standard_input(atd: Atd, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    piped = io.TextIOWrapper(io.BytesIO((folder / "images" / "2.png").read_bytes()))
    monkeypatch.setattr(sys, "stdin", piped)
    from_pipe = json.loads(atd("predict", "-", "--json").out)
    from_file = json.loads(atd("predict", "images/2.png", "--json").out)
    assert [answer["top"] for answer in from_pipe] == [answer["top"] for answer in from_file]


def test_merged_graphs_answer_alike(atd: Atd) -> None:
    shared, merged = (
        json.loads(atd("predict", "images/0.png", "--json", "--form", form).out) for form in ("shared", "merged")
    )
    for one, other in zip(shared, merged, strict=True):
        assert [entry["index"] for entry in one["top"]] == [entry["index"] for entry in other["top"]]


def test_images_of_one_name_are_told_apart_and_nothing_is_wrapped_in_a_pipe(
    atd: Atd, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    paths = [f"{place}/{'long ' * 20}/x.png" for place in ("a", "b")]
    for path in paths:
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_bytes((folder / "images" / "0.png").read_bytes())
    lines = atd("predict", *paths, "--adapters", "cars").out.splitlines()
    assert len(lines) == 3
    for line, path in zip(lines[1:], paths, strict=True):
        assert line.startswith(path)
        assert re.search(r"cars \d +\d+\.\d % +cars \d \d+ %, cars \d \d+ %", line)


def logits_of(features: npt.NDArray[np.float32], task: str) -> npt.NDArray[np.float32]:
    """Return what a task's head makes of features."""
    _, adapter = read_adapter(GOLDEN / "adapters" / task)
    tensors = adapter.tensors
    logits: npt.NDArray[np.float32] = features @ tensors["head.weight"].T + tensors["head.bias"]
    return logits / np.float32(adapter.task.temperature)


IMAGES = [f"images/{place}.png" for place in range(4)]


def test_features_are_what_the_heads_make_torchs_logits_of(atd: Atd) -> None:
    found = json.loads(atd("predict", *IMAGES, "--embed", "--json").out)
    assert [(item["file"], item["task"]) for item in found] == [(path, t) for path in IMAGES for t in ("birds", "cars")]
    for task in ("birds", "cars"):
        features = np.array([item["features"] for item in found if item["task"] == task], dtype=np.float32)
        np.testing.assert_allclose(logits_of(features, task), LOGITS[task], atol=1e-4)


def test_features_of_one_task_are_an_array_in_a_file(atd: Atd, folder: Path) -> None:
    done = atd("predict", *IMAGES, "--embed", "--adapters", "cars", "--out", "f.npy")
    assert done.out == "4 x 32 features of cars written to f.npy\n"
    features = np.load(folder / "f.npy", allow_pickle=False)
    assert (features.dtype, features.shape) == (np.float32, (4, 32))
    np.testing.assert_allclose(logits_of(features, "cars"), LOGITS["cars"], atol=1e-4)


def test_features_of_several_tasks_are_named_arrays_in_a_file(atd: Atd, folder: Path) -> None:
    done = atd("predict", *IMAGES, "--embed", "--out", "f.npz", "--json")
    assert json.loads(done.out) == {"file": "f.npz", "images": 4, "tasks": ["birds", "cars"], "features": 32}
    with np.load(folder / "f.npz", allow_pickle=False) as held:
        assert sorted(held.files) == ["birds", "cars", "files"]
        assert held["files"].tolist() == IMAGES
        for task in ("birds", "cars"):
            np.testing.assert_allclose(logits_of(held[task], task), LOGITS[task], atol=1e-4)


def test_a_line_shows_the_first_features(atd: Atd) -> None:
    found = json.loads(atd("predict", IMAGES[1], "--embed", "--json", "--adapters", "birds").out)[0]["features"]
    lines = atd("predict", IMAGES[1], "--embed", "--adapters", "birds").out.splitlines()
    assert len(lines) == 2
    assert lines[1].split() == [IMAGES[1], "birds", "32", *(f"{value:.3f}," for value in found[:4]), "..."]


def _merged_only(manifest: bundle.Manifest) -> bundle.Manifest:
    graphs = tuple(graph for graph in manifest.graphs if graph.task is not None)
    parity = tuple(entry for entry in manifest.parity if entry.graph in {graph.file for graph in graphs})
    return dataclasses.replace(manifest, graphs=graphs, parity=parity)


def test_a_bundle_of_merged_graphs_has_no_features(atd: Atd, folder: Path) -> None:
    manifest = bundle.read_manifest(folder / "bundle")
    bundle.write_manifest(folder / "bundle", _merged_only(manifest))
    done = atd("predict", IMAGES[0], "--embed")
    assert (done.code, done.out) == (2, "")
    assert "a merged graph gives no features, only logits; take --form shared" in done.err


def test_a_label_cant_drive_the_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer(0, "birds", (Label("\x1b[2Jowl\n\u202e", 0, 0.9), Label("\x07", 1, 0.1)))
    show([Path("a\x1b[31m.png")], [answer])
    printed = capsys.readouterr().out
    assert not {"\x1b", "\u202e", "\x07"} & set(printed)
    for text in ("\\x1b[2Jowl\\n\\u202e", "\\x07 10 %", "a\\x1b[31m.png"):
        assert text in printed
    assert len(printed.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["none.jpg"], 2, "none.jpg: can't be read (No such file or directory)"),
        (["bundle/manifest.json"], 1, "bundle/manifest.json: the data is not a JPEG"),
        (["images/0.png", "--adapters", "car"], 2, "Did you mean 'cars'?"),
        (["images/0.png", "--adapters", "cars,cars"], 2, "named twice"),
        (["images/0.png", "--form", "both"], 2, "--form: no form 'both', only auto, shared, merged"),
        (["images/0.png", "--adapters", "trees"], 2, "add it with: atd add adapters/trees"),
        (["images/0.png", "--out", "f.npy"], 2, "--out f.npy: only features are written to a file; add --embed"),
        (
            ["images/0.png", "--embed", "--form", "merged"],
            2,
            "--embed: merged graphs give logits only; leave out",
        ),
        (["images/0.png", "--embed", "--out", "f.txt"], 2, "--out f.txt: expected a name that ends with .npy or .npz"),
        (["images/0.png", "--embed", "--out", "f.npy"], 2, "--out f.npy: .npy holds the features of one task, and 2"),
        (["images/0.png", "--embed", "--out", "images/0.png/f.npz"], 2, "images/0.png is a file, expected a folder"),
        (["images/0.png", "--top-k", "0"], 2, "--top-k 0: expected a whole number from 1"),
    ],
)
def test_mistakes(atd: Atd, arguments: list[str], code: int, text: str) -> None:
    done = atd("predict", *arguments)
    assert done.code == code
    assert text in done.err
    assert done.out == ""


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is an extra of its own")
def test_an_engine_and_its_settings_are_chosen(atd: Atd) -> None:
    exact, other = (
        json.loads(atd("predict", "images/0.png", "--json", "--threads", "1", *words).out)
        for words in ((), ("--engine", "openvino", "-E", "hint=throughput", "-E", "streams=1"))
    )
    for entry, wanted in zip(other, exact, strict=True):
        found, expected = ([(held["label"], held["probability"]) for held in of["top"]] for of in (entry, wanted))
        assert [label for label, _ in found] == [label for label, _ in expected]
        assert [probability for _, probability in found] == pytest.approx([p for _, p in expected], abs=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--precision", "fp16"), "error: the bundle holds no shared fp16 graph, only shared fp32 and merged fp32 of "),
        (("--engine", "openvino", "--device", "cuda"), "openvino --device cuda: OpenVINO has no device 'cuda', only "),
        (
            ("--engine", "openvino", "-E", "hnt=x"),
            "-E hnt: openvino has no setting 'hnt', only hint, streams, rest. Did",
        ),
    ],
)
def test_what_an_engine_has_not_is_one_line(atd: Atd, words: tuple[str, ...], message: str) -> None:
    done = atd("predict", "images/0.png", *words)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err


def test_a_closed_standard_input_is_said(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    done = atd("predict", "-")
    assert (done.code, done.err) == (2, "error: -: standard input is closed; give an image file\n")
