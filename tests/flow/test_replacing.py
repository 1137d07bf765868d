"""Nothing trained or exported before is dropped without a word: torch's side, on the embedded backbone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from adaptertune_deploy.core.bundle.folder import read_manifest
from tests.flow.conftest import Workspace
from tests.flow.playing import Mistake, play, run, tree
from tests.train.runs import make_pictures


@pytest.fixture
def folder(workspace: Workspace, tmp_path: Path) -> Path:
    """Return a folder with the adapters and the bundle that a quickstart made, where every command looks for them."""
    place = tmp_path / "folder"
    shutil.copytree(workspace.folder, place)
    return place


REFUSED = {
    "tasks and merged graphs": Mistake("export --adapters digits", ("shapes", "merged", "--replace")),
    "merged graphs": Mistake("export", ("merged", "digits, shapes", "--replace", "--merge")),
    "the shared graph": Mistake("export --merge --no-shared", ("shared", "--replace")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_export_that_would_drop_something_is_refused_before_torch(name: str, folder: Path) -> None:
    play(REFUSED[name], folder)


def test_replace_drops_what_it_was_told_to_drop_and_nothing_foreign(folder: Path) -> None:
    (folder / "bundle" / "notes.txt").write_text("not the bundle's")
    done = run(folder, "export", "--adapters", "digits", "--replace", torch=True, timeout=300)
    assert done.returncode == 0, done.stderr
    manifest = read_manifest(folder / "bundle")
    assert [record.task.name for record in manifest.tasks] == ["digits"]
    files = {name for name, what in tree(folder / "bundle").items() if what != "folder"}
    assert files == {"manifest.json", "notes.txt", *manifest.files}


def test_the_current_folder_becomes_a_bundle_when_it_is_empty(folder: Path) -> None:
    (folder / "empty").mkdir()
    done = run(folder / "empty", "export", "--adapters-dir", "../adapters", "--out", ".", torch=True, timeout=300)
    assert done.returncode == 0, done.stderr
    manifest = read_manifest(folder / "empty")
    assert {name for name, what in tree(folder / "empty").items() if what != "folder"} == {
        "manifest.json",
        *manifest.files,
    }
    assert not [name for name in tree(folder) if name.startswith(".") or "/." in name]
    image = next((folder / "adapters" / "digits" / "samples").iterdir())
    answers = run(folder / "empty", "predict", image, "--bundle", ".", "--json")
    assert [answer["task"] for answer in json.loads(answers.stdout)] == ["digits", "shapes"]


def test_the_current_folder_is_left_alone_when_it_holds_something_else(folder: Path) -> None:
    play(Mistake("export --out .", ("something else than a bundle", "--out"), 1), folder)


def test_training_a_task_again_says_what_it_replaces_and_tidies_up(folder: Path) -> None:
    left = folder / "adapters" / ".digits.new.abcd1234"
    left.mkdir()
    (left / "adapter_model.safetensors").write_bytes(b"left behind")
    before = tree(folder / "adapters" / "shapes")
    make_pictures(folder / "trees", 8)  # the task keeps its name and learns something else, in a few seconds
    words = ("train", "--dataset", "trees", "--task", "digits", "--epochs", "1")
    words += ("--backbone", "vit_pico_patch8_64.atd_formula")
    done = run(folder, *words, "--seed", "1", torch=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "adapters/digits" in done.stderr
    assert "replace" in done.stderr
    assert ".digits.new.abcd1234" in done.stderr
    assert tree(folder / "adapters" / "shapes") == before
    assert sorted(path.name for path in (folder / "adapters").iterdir()) == ["digits", "shapes"]


def test_the_embedded_backbone_is_used_only_where_it_is_asked_for(folder: Path) -> None:
    """The folder holds adapters of the embedded backbone; a plain `atd train` must not take it over."""
    before = tree(folder)
    done = run(folder, "train", "--dataset", "digits", "--rank", "8")
    *notes, last = done.stderr.splitlines()
    assert any("this task, on deit_tiny_patch16_224.fb_in1k" in note and "--backbone" in note for note in notes)
    assert any("adapters/digits will be replaced" in note for note in notes)
    assert last.startswith("error: train needs torch")  # the stand-in for torch: all of this was said before it
    assert tree(folder) == before
