from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adaptertune_deploy.cli.train import show_result, train_facts
from adaptertune_deploy.core.adapter import read_config
from adaptertune_deploy.train import trainer
from adaptertune_deploy.train.request import TrainRequest
from adaptertune_deploy.train.trainer import TrainResult
from tests.cli.conftest import Atd
from tests.cli.started import imported_by
from tests.train.runs import make_measured, make_pictures


def trained(request: TrainRequest, *_: object) -> TrainResult:
    """Stand for a training: the folder is a copy of a golden one."""
    task = request.task or Path(request.dataset).name
    place = request.out / task
    if not place.exists():
        shutil.copytree("adapters/birds", place)
    config = read_config(place)
    return TrainResult(place, replace(config, task=replace(config.task, name=task)), make_measured(), ())


MISTAKES = [
    (["--dataset", "digit"], "Did you mean 'digits'?"),
    (["--dataset", "digits", "--rank", "0"], "--rank 0: expected a whole number from 1"),
    (["--dataset", "digits", "--device", "tpu"], "--device tpu: expected auto, cpu, cuda or cuda:N"),
    (["--dataset", "digits", "--precision", "int4"], "--precision int4: expected"),
    (["--dataset", "digits", "--val-split", "half"], "--val-split half: expected"),
    (["--dataset", "digits", "--placement", "lst:4"], "--placement lst:4: expected"),
    (["--dataset", "adapters"], "adapters"),
    (["--dataset", "my pets"], "add --task my-pets"),
    (["--dataset", "digits", "--out", "images/0.png"], "--out images/0.png"),
]


@pytest.mark.parametrize(("arguments", "text"), MISTAKES)
def test_mistakes_end_with_2_before_anything_is_written(
    atd: Atd, folder: Path, arguments: list[str], text: str
) -> None:
    make_pictures(folder / "my pets", 4)
    before = sorted(path for path in folder.rglob("*"))
    done = atd("train", *arguments)
    assert (done.code, done.out) == (2, "")
    assert text in done.err
    assert done.err.count("\n") == 1
    assert sorted(path for path in folder.rglob("*")) == before


def test_they_end_before_torch_is_imported(folder: Path) -> None:
    make_pictures(folder / "my pets", 4)
    for arguments, _ in MISTAKES[3:8]:
        assert "torch" not in imported_by("train", *arguments)


def test_what_is_replaced_and_the_backbone_are_said_before_any_work(
    atd: Atd, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "train_task", trained)
    done = atd("train", "--dataset", "digits", "--task", "birds")
    notes = done.err.splitlines()
    assert notes[0].startswith("note: adapters/birds will be replaced")
    assert "deit_tiny_patch16_224.fb_in1k" in notes[1]


@pytest.mark.parametrize("place", ["adapters", "o ü 1", "mein Ordner ä/日本"])
def test_the_next_commands_work_as_printed(atd: Atd, folder: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setattr(trainer, "train_task", trained)
    shutil.rmtree("bundle")
    shutil.copytree("adapters/birds", "golden")
    done = atd("train", "--dataset", "digits", "--task", "birds", "--out", place)
    assert done.code == 0
    lines = [shlex.split(line.removeprefix("next:")) for line in done.out.splitlines()[-2:]]
    assert [line[:2] for line in lines] == [["atd", "export"], ["atd", "evaluate"]]
    exported = atd(*lines[0][1:])
    assert "no such" not in exported.err
    assert "samples" in exported.err or "images" in exported.err  # golden adapters keep none, so export ends there
    evaluated = atd(*lines[1][1:])
    assert "squares" in evaluated.err  # the dataset that the golden adapters name


def test_the_table_counts_and_names_no_top5_of_three_classes(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    place = folder / "adapters" / "birds"
    measured = make_measured()
    show_result(TrainResult(place, read_config(place), measured, ()))
    printed = capfd.readouterr()
    right = round(measured.adapter.top1 * 40)
    assert f"{measured.adapter.top1:.1%} ({right} of 40)" in printed.out
    assert "top-5" not in printed.out
    assert "every adapter got a gradient" in printed.out
    assert "note: 40 test images: one image is 2.5 points" in printed.err


def test_an_adapter_worse_than_the_head_alone_is_said_so(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    place = folder / "adapters" / "birds"
    good = make_measured()
    bad = make_measured(adapter=good.head_only, head_only=good.adapter)
    for measured, worse in ((good, False), (bad, True)):
        show_result(TrainResult(place, read_config(place), measured, ()))
        assert ("worse than the head alone" in capfd.readouterr().err) is worse


def test_json_keeps_its_keys(atd: Atd, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "train_task", trained)
    facts: dict[str, Any] = json.loads(atd("train", "--dataset", "digits", "--task", "owls", "--json").out)
    assert {"task", "folder", "backbone", "dataset", "split", "head_only", "adapter", "proofs"} <= facts.keys()
    assert facts["task"] == "owls"
    assert train_facts(trained(TrainRequest("digits", None, Path("adapters"), task="owls")))["task"] == "owls"


@pytest.mark.parametrize(
    ("task", "kept"), [("birds", "nothing was written, adapters/birds/ is as it was"), ("owls", "nothing was written")]
)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interrupt_says_what_was_kept(
    atd: Atd, monkeypatch: pytest.MonkeyPatch, task: str, kept: str, number: signal.Signals, code: int
) -> None:
    monkeypatch.setattr(trainer, "train_task", lambda *_: os.kill(os.getpid(), number))
    done = atd("train", "--dataset", "digits", "--task", task)
    assert (done.code, done.out) == (code, "")
    assert done.err.splitlines()[-1] == f"stopped; {kept}"
