from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adaptertune_deploy.cli.train import show_result, train_facts
from adaptertune_deploy.core.adapter.folder import WEIGHTS_NAME, read_config
from adaptertune_deploy.train import trainer
from adaptertune_deploy.train.outcome.measured import Measured
from adaptertune_deploy.train.parallel import lead
from adaptertune_deploy.train.parallel.launch import Launch
from adaptertune_deploy.train.request.recipe import Recipe, method_fields
from adaptertune_deploy.train.request.request import TrainRequest
from adaptertune_deploy.train.resume.stopped import folder_of
from adaptertune_deploy.train.shared import help as help_
from adaptertune_deploy.train.trainer import TrainResult
from tests.builders import make_recipe
from tests.cli.conftest import Atd
from tests.cli.started import imported_by
from tests.train.outcome.measured_values import (
    make_head_only,
    make_measure,
    make_measured,
    make_nested_widths,
    make_repeats,
)
from tests.train.runs import make_pictures


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
    (["--dataset", "digits", "--rank", "-1"], "--rank -1: expected a whole number from 0 (head only)"),
    (
        ["--dataset", "digits", "--rank", "atuo"],
        "--rank atuo: expected a whole number, auto, auto:fast, nested or nested:N. Did you mean 'auto'?",
    ),
    (
        ["--dataset", "digits", "--rank", "4.5"],
        "--rank 4.5: expected a whole number, auto, auto:fast, nested or nested:N",
    ),
    (["--dataset", "digits", "--rank", "nested:1"], "--rank nested:1: expected a full width from 2"),
    (["--dataset", "digits", "--checkpoint-every", "-1"], "--checkpoint-every -1.0: expected seconds from 0"),
    (["--dataset", "digits", "--resume"], "--resume: no training of 'digits' was stopped in adapters; leave it out"),
    (["--dataset", "digits", "--image-size", "224px"], "--image-size 224px: expected pixels from 1 to 4096"),
    (["--dataset", "digits", "--device", "tpu"], "--device tpu: expected auto, cpu, cuda or cuda:N"),
    (["--dataset", "digits", "--precision", "int4"], "--precision int4: expected"),
    (["--dataset", "digits", "--placement", "lst:4"], "--placement lst:4: expected"),
    (["--dataset", "digits", "--placement", "3,1"], "--placement 3,1: expected blocks in ascending order"),
    (["--dataset", "digits", "--views", "65"], "--views 65: expected 0 (anew in every epoch) to 64"),
    (["--dataset", "digits", "--dropout", "1"], "--dropout 1.0: expected a share from 0 to below 1"),
    (["--dataset", "digits", "--drop-path", "-1"], "--drop-path -1.0: expected a share from 0 to below 1"),
    (["--dataset", "digits", "--log", "csb"], "--log csb: no log 'csb', only csv, tensorboard."),
    (["--dataset", "digits", "--log-dir", "runs"], "--log-dir runs: says where, but no --log says what"),
    (["--dataset", "digits", "--ship", "heads"], "--ship heads: expected auto, adapter, head or full"),
    (
        ["--dataset", "digits", "--ship", "adapter", "--rank", "0"],
        "--ship adapter: --rank 0, as --method head, trains no adapter",
    ),
    (["--dataset", "digits", "--method", "ful"], "--method ful: expected adapter, head or full. Did you mean 'full'?"),
    (
        ["--dataset", "digits", "--method", "full", "--rank", "8"],
        "--method full and --rank 8: only adapters have a rank",
    ),
    (
        ["--dataset", "digits", "--method", "full", "--views", "3"],
        "--views 3: keeps what no step changes, and --method",
    ),
    (["--dataset", "digits", "--method", "full", "--dropout", "0.1"], "--dropout 0.1: of adapters, and --method full"),
    (
        ["--dataset", "digits", "--method", "full", "--placement", "last:2"],
        "--placement last:2: of adapters, and --me",
    ),
    (["--dataset", "digits", "--method", "full", "--alpha", "3"], "--alpha 3.0: of adapters, and --method full trains"),
    (["--dataset", "digits", "--ship", "full"], "--ship full: nothing is fine-tuned; add --method full"),
    (["--dataset", "digits", "--class-weights", "equal"], "--class-weights equal: expected balanced or none"),
    (["--dataset", "digits", "--folds", "-1"], "--folds -1: expected"),
    (["--dataset", "digits", "--seeds", "0"], "--seeds 0: expected a whole number from 1"),
    (["--dataset", "digits", "--warmup", "1"], "--warmup 1.0: expected a share"),
    (["--dataset", "digits", "--weight-decay", "-1"], "--weight-decay -1.0: expected"),
    (["--dataset", "digits", "--label-smoothing", "1"], "--label-smoothing 1.0: expected a share"),
    (["--dataset", "digits", "--workers", "-2"], "--workers -2: expected"),
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
    for arguments, _ in MISTAKES[3:7]:
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
    lines = [shlex.split(line.partition("atd ")[2]) for line in done.out.splitlines()[-3:]]
    assert [line[0] for line in lines] == ["export", "evaluate", "export"]
    assert lines[2][lines[2].index("--ship") + 1] == "adapter"
    for line in (lines[0], lines[2]):
        exported = atd(*line)
        assert "no such" not in exported.err
        assert "samples" in exported.err or "images" in exported.err  # golden adapters keep none, so export ends there
    evaluated = atd(*lines[1])
    assert "squares" in evaluated.err  # the dataset that the golden adapters name


def shown(measured: Measured, capfd: pytest.CaptureFixture[str], **changes: Any) -> tuple[str, str]:
    """Return what show_result prints to standard output and to standard error."""
    place = Path("adapters/birds")
    config = replace(read_config(place), recipe=make_recipe(), **changes)
    show_result(TrainResult(place, config, measured, ()))
    printed = capfd.readouterr()
    return printed.out, printed.err


def test_both_candidates_are_shown_with_what_compares_them(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, err = shown(make_measured(repeats=make_repeats(31, 32)), capfd)
    lines = out.splitlines()
    assert lines[0].endswith(": test split, 40 images")
    assert lines[1].split() == ["head", "alone", "adapter", "+", "head"]
    for line in (
        "adapter against head alone, test images: 4 images better, 1 worse: no difference shown (p = 0.38); difference "
        "+7.5 points, 95 % interval -4.1 .. +18.4",
        "out of fold (3 folds, 259 images): loss 0.452 for the head alone, 0.431 with the adapter; gain 0.021 ± 0.018 "
        "(1.2 standard errors, 2 are asked for)",
        "3 seeds on the same test images: adapter 80.0 % on average, standard deviation 2.5 points, range "
        "77.5 .. 82.5 %",
        "=> the head alone ships: cross-validation shows no gain from the adapter",
        "trained 8 epochs in 60 steps on all 80 training images, last weights kept; 12.3 s in all, fp32 on cpu",
        "checked: the start equals the backbone bit for bit on 8 images, all 150 frozen tensors are unchanged, each of "
        "the 12 adapters got a gradient in the first step",
    ):
        assert line in lines
    assert "top-5" not in out
    assert "note: 40 test images: one image is 2.5 points; models that differ on fewer than 6 images" in err


def test_nested_widths_are_shown_with_what_they_lose(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, _ = shown(make_measured(widths=make_nested_widths()), capfd)
    rows = [line.split() for line in out.splitlines() if line.split() and line.split()[0] in ("1", "2", "4")]
    assert [row[0] for row in rows] == ["1", "2", "4"]
    assert "+0.030 ± 0.020" in out
    assert (
        "nested: atd export --rank N cuts rank 4 to 1, 2; out of fold none is within a standard error of rank 4" in out
    )


def test_test_images_that_say_otherwise_are_told(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for right, told in ((33, False), (40, True)):
        _, err = shown(make_measured(adapter=make_measure(right, 40)), capfd)
        assert ("note: on the test images the adapter is better than what ships (p = 0.002)" in err) is told


def test_a_head_alone_claims_nothing_about_adapters(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, _ = shown(make_head_only(), capfd)
    assert "=> the head alone ships: no adapter was trained (rank 0)\n" in out
    assert "trained the head alone in 12.3 s\n" in out
    assert "gradient" not in out
    assert "better" not in out


@pytest.mark.parametrize(("ships", "other"), [("head", "adapter"), ("adapter", "head")])
def test_the_command_that_overrules_is_printed(
    atd: Atd, folder: Path, monkeypatch: pytest.MonkeyPatch, ships: str, other: str
) -> None:
    def train_task(request: TrainRequest, *_: object) -> TrainResult:
        result = trained(request)
        return replace(result, measured=replace(result.measured, ships=ships))

    monkeypatch.setattr(trainer, "train_task", train_task)
    last = atd("train", "--dataset", "digits", "--task", "birds").out.splitlines()[-1]
    assert last == f"overrule: atd add adapters/birds --ship {other}"


def test_full_fine_tuning_is_shown_by_its_name(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, _ = shown(make_measured(method="full", ships="full", chosen_by="user", proofs=None), capfd)
    assert out.splitlines()[1].split() == ["head", "alone", "full", "fine-tuning"]
    assert "full fine-tuning against head alone, test images: 4 images better" in out
    assert "0.431 with the full fine-tuning; gain" in out
    assert "=> the full fine-tuning ships: --ship full asked for it; cross-validation chose the head alone" in out
    assert "every weight of the backbone was trained, so that there is no unchanged backbone to be shown" in out
    place = Path("adapters/birds")
    (place / WEIGHTS_NAME).write_bytes(bytes(3_000_000))
    out, _ = shown(make_measured(method="full", ships="full", chosen_by="user", proofs=None), capfd)
    assert "wrote adapters/birds/ (3 MB of weights, " in out


def test_rank_0_has_nothing_to_overrule(atd: Atd, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train_task(request: TrainRequest, *_: object) -> TrainResult:
        return replace(trained(request), measured=make_head_only())

    monkeypatch.setattr(trainer, "train_task", train_task)
    assert "overrule" not in atd("train", "--dataset", "digits", "--task", "birds", "--rank", "0").out


def test_what_is_asked_for_reaches_the_training(atd: Atd, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[TrainRequest] = []

    def train_task(request: TrainRequest, *_: object) -> TrainResult:
        asked.append(request)
        return trained(request)

    monkeypatch.setattr(trainer, "train_task", train_task)
    atd("train", "--dataset", "digits", "--task", "birds")
    assert (asked[0].recipe, asked[0].skip_bad) == (Recipe(), False)
    words = "--rank 4 --ship head --folds 2 --class-weights none --seeds 3 --seed 5 --epochs 2 --batch-size 8 --lr 0.01"
    words += " --weight-decay 0.2 --warmup 0.3 --label-smoothing 0.4 --workers 1 --precision fp32 --skip-bad"
    words += " --placement 3,7 --views 2 --dropout 0.5 --drop-path 0.6 --log csv --log-dir runs"
    atd("train", "--dataset", "digits", "--task", "birds", *words.split())
    recipe = Recipe(
        rank=4, ship="head", folds=2, class_weights="none", seeds=3, seed=5, epochs=2, batch_size=8, lr=0.01
    )
    recipe = replace(recipe, weight_decay=0.2, warmup=0.3, label_smoothing=0.4, workers=1, precision="fp32")
    recipe = replace(recipe, placement="3,7", views=2, dropout=0.5, drop_path=0.6)
    assert (asked[1].recipe, asked[1].skip_bad) == (recipe, True)
    assert (asked[1].resume, asked[1].checkpoint_every) == (False, 60.0)
    assert (asked[1].log, asked[1].log_dir) == (("csv",), Path("runs"))
    assert (asked[0].log, asked[0].log_dir) == ((), None)
    atd("train", "--dataset", "digits", "--task", "birds", "--rank", "nested:16")
    assert asked[-1].recipe == Recipe(rank=16, nested=True)
    atd("train", "--dataset", "digits", "--task", "birds", "--method", "head")
    assert asked[-1].recipe == Recipe(rank=0)  # one way inside
    atd("train", "--dataset", "digits", "--task", "birds", "--method", "full", "--lr", "0.001")
    assert asked[-1].recipe == Recipe(**{**method_fields("full"), "lr": 0.001})
    for search in ("auto", "auto:fast"):
        atd("train", "--dataset", "digits", "--task", "birds", "--rank", search)
        assert asked[-1].recipe == Recipe(search=search)
    waiting = folder_of(Path("adapters"), "birds")
    waiting.mkdir()
    (waiting / "run.json").write_text("{}")
    atd("train", "--dataset", "digits", "--task", "birds", "--resume", "--checkpoint-every", "5")
    assert (asked[-1].resume, asked[-1].checkpoint_every) == (True, 5.0)


PROCESSES = {"WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}


@pytest.mark.parametrize("code", [0, 1])
def test_a_process_that_is_not_the_first_helps_and_says_nothing(
    atd: Atd, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    for name, value in {**PROCESSES, "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    asked: list[Launch] = []
    handlers: list[object] = []

    def help_train(launch: Launch) -> int:
        asked.append(launch)
        handlers.extend(signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM))
        return code

    monkeypatch.setattr(help_, "help_train", help_train)
    done = atd("train", "--dataset", "digits", "--task", "birds")
    assert (done.code, done.out, done.err) == (code, "", "")
    assert asked == [Launch(1, 2, 0)]
    assert handlers == [signal.SIG_DFL] * 2


@pytest.mark.usefixtures("folder")
def test_the_first_process_leads(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**PROCESSES, "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    asked: list[Launch] = []

    def led(launch: Launch, work: Callable[[str], TrainResult]) -> TrainResult:
        asked.append(launch)
        return work("group")

    def train_task(request: TrainRequest, *_: object, group: str) -> TrainResult:
        assert group == "group"
        return trained(request)

    monkeypatch.setattr(lead, "lead", led)
    monkeypatch.setattr(trainer, "train_task", train_task)
    assert json.loads(atd("train", "--dataset", "digits", "--task", "owls", "--json").out)["task"] == "owls"
    assert asked == [Launch(0, 2, 0)]


def test_processes_do_not_share_full_fine_tuning(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**PROCESSES, "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(lead, "lead", lambda *_: pytest.fail("it began"))
    done = atd("train", "--dataset", "digits", "--task", "birds", "--method", "full")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "--method full: several processes train adapters only; start it without torchrun" in done.err


def test_processes_without_places_are_refused(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = atd("train", "--dataset", "digits", "--task", "birds")
    assert done.code == 2
    assert "WORLD_SIZE=2 asks for several processes, but RANK" in done.err


def test_json_holds_everything(atd: Atd, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "train_task", trained)
    facts: dict[str, Any] = json.loads(atd("train", "--dataset", "digits", "--task", "owls", "--json").out)
    named = {"task", "folder", "backbone", "dataset", "train_images", "test_images", "ships", "head", "adapter"}
    assert named | {"paired", "out_of_fold", "repeats", "recipe", "proofs", "curve"} <= facts.keys()
    assert (facts["task"], facts["ships"], facts["paired"]["better"]) == ("owls", "head", 4)
    result = trained(TrainRequest("digits", None, Path("adapters"), task="owls"))
    assert train_facts(result) == facts


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


def test_an_interrupt_says_that_the_training_can_go_on(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        folder_of(Path("adapters"), "owls").mkdir()
        (folder_of(Path("adapters"), "owls") / "run.json").write_text("{}")
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(trainer, "train_task", stop)
    done = atd("train", "--dataset", "digits", "--task", "owls")
    assert done.code == 130
    assert done.err.splitlines()[-1] == (
        "stopped; nothing was written; the same command with --resume goes on where it stopped"
    )
    again = atd("train", "--dataset", "digits", "--task", "owls")
    assert "a training of 'owls' was stopped before, and this one soon takes its place" in " ".join(again.err.split())
