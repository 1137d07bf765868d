"""Signals in the middle of the work: what stood there stands there still, nothing else does, and a line says so."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.train.resume.stopped import folder_of
from tests.flow.conftest import Workspace
from tests.flow.playing import run, tree
from tests.flow.terminal import OnTerminal
from tests.train.runs import make_pictures

PICO = "vit_pico_patch8_64.atd_formula"
TRAIN = ("train", "--dataset", "trees", "--task", "digits", "--backbone", PICO, "--epochs", "500")
EXPORT = ("export", "--merge")
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.fixture
def folder(workspace: Workspace, tmp_path: Path) -> Path:
    """Return a folder with what a quickstart made, and pictures to train on."""
    place = tmp_path / "folder"
    shutil.copytree(workspace.folder, place)
    make_pictures(place / "trees", 8)
    return place


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
@pytest.mark.parametrize(("words", "bar"), [(TRAIN, "all images"), (EXPORT, "shared graph")], ids=["train", "export"])
def test_it_leaves_nothing(number: signal.Signals, words: tuple[str, ...], bar: str, folder: Path) -> None:
    before = tree(folder)
    with OnTerminal(folder, *words) as running:
        running.wait_for(bar)
        running.process.send_signal(number)
        assert running.end() == CODES[number]
    assert "stopped" in running.shown
    assert "Traceback" not in running.shown
    shutil.rmtree(folder_of(folder / "adapters", "digits"), ignore_errors=True)  # what --resume goes on with
    assert tree(folder) == before


def test_it_leaves_nothing_where_nothing_was(folder: Path) -> None:
    before = tree(folder)
    with OnTerminal(folder, *EXPORT, "--out", "new/bundle") as running:
        running.wait_for("shared graph")
        running.process.send_signal(signal.SIGTERM)
        assert running.end() == 143
    assert tree(folder) == before


def test_a_killed_export_leaves_the_old_bundle_and_the_next_one_tidies_up(folder: Path) -> None:
    with OnTerminal(folder, *EXPORT) as running:
        running.wait_for("merged graphs")
        running.process.kill()
        assert running.end() == -signal.SIGKILL
    image = next((folder / "adapters" / "digits" / "samples").iterdir())
    assert run(folder, "predict", image).returncode == 0
    (folder / "bundle" / "merged" / "digits-00000000.onnx").write_bytes(b"as a kill between two files leaves it")
    done = run(folder, *EXPORT, torch=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "killed" in done.stderr
    files = {name for name, what in tree(folder / "bundle").items() if what != "folder"}
    assert files == {"manifest.json", *read_manifest(folder / "bundle").files}
