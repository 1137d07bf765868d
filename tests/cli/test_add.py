from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.cli import console
from adaptertune_deploy.core import publish, tensors
from adaptertune_deploy.core.bundle import read_manifest
from tests.builders import give_reference
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
        "note: a running server keeps its tasks until it is restarted",
    ]


@pytest.fixture
def answered(folder: Path) -> Path:
    """The adapter 'trees' with its images and torch's answers."""
    shapes = {"birds": (4, 3), "cars": (4, 5), "trees": (4, 4), "cars-adapter": (4, 5)}
    logits = tensors.unpack((GOLDEN / "logits.safetensors").read_bytes(), shapes, "golden")["trees"]
    images = [path.read_bytes() for path in sorted((folder / "images").iterdir())]
    give_reference(folder / "adapters" / "trees", images, {"adapter": logits, "head": logits})
    return folder / "adapters" / "trees"


@pytest.mark.parametrize("merge", [False, True])
def test_a_task_is_verified_without_torch(atd: Atd, folder: Path, answered: Path, merge: bool) -> None:
    done = atd("add", "adapters/trees", *(["--merge"] if merge else []))
    assert (done.code, done.err) == (0, "note: a running server keeps its tasks until it is restarted\n")
    assert done.out.splitlines()[1].startswith(
        "verified on 4 images against torch's answers of the training: max diff "
    )
    manifest = read_manifest(folder / "bundle")
    assert len(manifest.parity_of("trees")) == 1 + merge
    assert [graph.task for graph in manifest.graphs].count("trees") == merge


def test_a_task_that_answers_otherwise_is_not_added(atd: Atd, folder: Path, answered: Path) -> None:
    images = [path.read_bytes() for path in sorted((folder / "images").iterdir())]
    wrong = np.zeros((4, 4), dtype=np.float32)
    give_reference(answered, images, {"adapter": wrong, "head": wrong})
    before = (folder / "bundle" / "manifest.json").read_bytes()
    done = atd("add", "adapters/trees", "--merge")
    assert (done.code, done.out) == (1, "")
    assert "differs from torch by up to" in done.err
    assert (folder / "bundle" / "manifest.json").read_bytes() == before
    assert not list((folder / "bundle").glob("*/trees*"))


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
    assert done.err == ("error: --ship: no candidate 'adaptr', only auto, adapter, head. Did you mean 'adapter'?\n")


def test_json_names_the_file(atd: Atd, folder: Path) -> None:
    done = atd("add", "adapters/trees", "--json")
    facts = json.loads(done.out)
    assert set(facts) == {"task", "rank", "file", "merged", "parity", "seconds"}
    assert (facts["task"], facts["rank"]) == ("trees", 3)
    assert (folder / facts["file"]).is_file()


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
