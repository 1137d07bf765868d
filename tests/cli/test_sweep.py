"""atd sweep: what is asked for reaches the work, and a screen shows every rank."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from adaptertune_deploy.cli import main
from adaptertune_deploy.cli.sweep import show, training
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.train import trainer
from adaptertune_deploy.train.parallel import lead as leading
from adaptertune_deploy.train.parallel.launch import Launch
from adaptertune_deploy.train.request.recipe import Recipe
from adaptertune_deploy.train.request.request import TrainRequest
from adaptertune_deploy.train.sweep import sweep as sweeping
from adaptertune_deploy.train.sweep.sweep import write_sweep
from adaptertune_deploy.train.sweep.swept import Sweep
from adaptertune_deploy.train.trainer import TrainResult
from tests.builders import make_backbone_spec, make_task, write_adapter
from tests.cli.conftest import Atd
from tests.train.sweep.sweeps import make_sweep

Asked = list[tuple[TrainRequest, tuple[int, ...]]]
PROCESSES = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
NESTED: list[tuple[bool, bool]] = []
GROUPS: list[Any] = []


@pytest.fixture
def asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Return what the work was asked for; it returns a sweep at once."""
    found: Asked = []
    NESTED.clear()
    GROUPS.clear()

    def swept(request: TrainRequest, ranks: tuple[int, ...], *_: object, nested: bool, full: bool, group: Any) -> Sweep:
        found.append((request, ranks))
        NESTED.append((nested, full))
        GROUPS.append(group)
        write_sweep(request.out, make_sweep())
        return make_sweep()

    monkeypatch.setattr(sweeping, "sweep_ranks", swept)
    return found


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--ranks", "1,x"], "--ranks 1,x: expected whole numbers with commas between, as 1,2,4,8"),
        (["--ranks", "0"], "--ranks 0: expected 1 to 16 whole numbers"),
        (["--ranks", "1", "--nested"], "--nested: needs a rank of 2 or more in --ranks"),
        (["--placement", "lst:4"], "--placement lst:4: expected"),
        (["--seeds", "0"], "--seeds 0: expected a whole number from 1"),
        (["--resume"], "--resume: no training of 'digits' was stopped in sweeps; leave it out"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], text: str, atd: Atd, asked: Asked) -> None:
    done = atd("sweep", "--dataset", "digits", *arguments)
    assert (done.code, done.out) == (2, "")
    assert text in done.err
    assert asked == []


def test_what_is_asked_for_reaches_the_work(atd: Atd, asked: Asked) -> None:
    atd("sweep", "--dataset", "digits")
    request, ranks = asked[0]
    assert (request.recipe, request.out, ranks) == (Recipe(seeds=3), Path("sweeps"), (1, 2, 4, 8, 16, 32))
    words = "--ranks 8,2 --seeds 1 --seed 5 --folds 2 --epochs 2 --batch-size 8 --lr 0.01 --precision fp32 --out wide"
    atd("sweep", "--dataset", "digits", *words.split(), "--placement", "last:4")
    request, ranks = asked[1]
    recipe = Recipe(seeds=1, seed=5, folds=2, epochs=2, batch_size=8, lr=0.01, precision="fp32", placement="last:4")
    assert (request.recipe, request.out, ranks) == (recipe, Path("wide"), (2, 8))


def test_every_rank_has_a_row_and_the_next_command_takes_the_one_that_is_enough(atd: Atd, asked: Asked) -> None:
    shown = atd("sweep", "--dataset", "digits", "--backbone", "vit_tiny_patch16_224").out
    assert "trees: 300 training images, 100 test images, 2 seeds" in shown
    rows = [line.split() for line in shown.splitlines()]
    assert ["0,", "head", "alone", "100", "400", "B", "0.6000", "+0.1000", "±", "0.0200", "81.0", "%"] in rows
    assert ["2", "1,100", "4.4", "kB", "0.5040", "+0.0040", "±", "0.0060", "85.0", "%", "84.0", "..", "86.0"] in rows
    assert ["8", "4,100", "16.4", "kB", "0.5000", "best", "86.5", "%", "85.0", "..", "88.0"] in rows
    assert "=> rank 2 is enough on 300 images out of fold (2 folds); not distinguishable from it: 8" in shown
    assert "wrote sweeps/trees.json and trees.png" in shown
    assert "atd train --dataset digits --backbone vit_tiny_patch16_224 --rank 2" in " ".join(shown.split())


def test_the_next_command_trains_as_the_sweep_did(atd: Atd, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("recipe.yaml").write_text("placement: last:1\nclip: 2.0\nrank: 4\n")
    Path("weights.safetensors").write_bytes(b"")
    words = "--task oaks --allow-missing --skip-bad --image-size 32 --placement last:2 --folds 2 --seed 5 --epochs 3 "
    words += "--batch-size 8 --lr 0.01 --precision fp32 --device cpu --config recipe.yaml --weights weights.safetensors"
    said = atd("sweep", "--dataset", "digits", "--backbone", "vit_tiny", *words.split(), "--seeds", "2", "--out", "o")
    following = shlex.split(said.out.splitlines()[-1].partition("atd ")[2])
    assert following[0] == "train"
    assert following[-2:] == ["--rank", "2"]
    assert not {"--seeds", "--out"} & set(following)
    trained: list[TrainRequest] = []

    def train_task(request: TrainRequest, *_: object) -> TrainResult:
        trained.append(request)
        raise UsageError("it began")

    monkeypatch.setattr(trainer, "train_task", train_task)
    assert "it began" in atd(*following).err
    swept = asked[0][0]
    recipe = replace(swept.recipe, rank=2, seeds=1)
    assert trained == [replace(swept, recipe=recipe, out=Path("adapters"))]


def test_the_next_command_names_what_the_adapters_folder_or_a_file_would_decide(folder: Path, atd: Atd) -> None:
    spec = replace(make_backbone_spec(), name="vit_small_patch16_224.augreg_in21k_ft_in1k")
    write_adapter(Path("adapters/owls"), make_task("owls"), spec)
    found = make_sweep(enough=0, backbone="deit_tiny_patch16_224.fb_in1k")
    context = typer.Context(typer.main.get_command(main.app).commands["sweep"])  # type: ignore[attr-defined]
    request = TrainRequest("digits", None, Path("sweeps"), Recipe(ship="adapter"))
    said = training(context, found, request)
    assert said == "atd train --backbone deit_tiny_patch16_224.fb_in1k --ship auto --rank 0"
    assert training(context, replace(found, enough=None), request) is None


def test_the_next_command_of_a_head_alone_names_nothing_that_it_passes_over(
    atd: Atd, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "sweep_ranks", lambda *_, **__: make_sweep(enough=0, backbone="vit_tiny"))
    words = "--skip-bad --placement last:2 --epochs 3 --precision fp32 --backbone vit_tiny"
    said = atd("sweep", "--dataset", "digits", *words.split()).out.splitlines()[-1]
    assert said == "next: atd train --dataset digits --skip-bad --backbone vit_tiny --precision fp32 --rank 0"


def test_what_is_replaced_is_said_and_nothing_else(atd: Atd, asked: Asked) -> None:
    words = ("sweep", "--dataset", "digits", "--task", "birds", "--out", "adapters")
    assert "replaced" not in atd(*words).err  # adapters/birds is not touched
    Path("adapters/birds.json").write_text("{}")
    assert "note: adapters/birds.json will be replaced; to keep it: --task NAME, or --out FOLDER" in atd(*words).err


def test_a_file_of_full_fine_tuning_is_no_recipe_of_a_sweep(atd: Atd, asked: Asked) -> None:
    Path("full.yaml").write_text("method: full\n")
    done = atd("sweep", "--dataset", "digits", "--config", "full.yaml")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "method: full: a sweep compares ranks of adapters; leave it out of the --config file, --full" in done.err
    assert asked == []


def test_json_holds_everything(atd: Atd, asked: Asked) -> None:
    facts: dict[str, Any] = json.loads(atd("sweep", "--dataset", "digits", "--json").out)
    assert (facts["task"], facts["enough"], len(facts["ranks"])) == ("trees", 2, 3)
    assert facts["ranks"][1]["bytes"] == 4_400


def test_nested_widths_are_rows_of_their_own(
    atd: Atd, asked: Asked, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    atd("sweep", "--dataset", "digits", "--nested")
    atd("sweep", "--dataset", "digits")
    atd("sweep", "--dataset", "digits", "--full")
    assert NESTED == [(True, False), (False, False), (False, True)]
    plain = make_sweep()
    row = replace(plain.ranks[-1], rank=1, method="nested")
    full = replace(row, rank=0, method="full", above=-0.0013, error=0.004)
    show(replace(plain, ranks=(*plain.ranks, row, full)), asked[0][0], None)
    printed = capfd.readouterr().out
    assert "1, nested" in printed
    assert "full fine-tuning" in printed
    assert printed.count("best  ") == 1  # the rank, also where another method's loss is lower
    assert "-0.0013 ± 0.0040" in printed
    assert "next:" not in printed


def test_processes_of_torchrun_share_a_sweep_but_no_full_fine_tuning(
    atd: Atd, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in PROCESSES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(leading, "lead", lambda launch, work: work((launch, "group")))
    atd("sweep", "--dataset", "digits")
    assert GROUPS[0] == (Launch(0, 2, 0), "group")
    done = atd("sweep", "--dataset", "digits", "--full")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "--full: several processes train adapters only; start it without torchrun, or leave it out" in done.err
    assert len(asked) == 1
