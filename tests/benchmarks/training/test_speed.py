"""benchmarks.training.speed on a small network: every loop and part is timed, a command is run, the page is written."""

from __future__ import annotations

import json
import subprocess
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from adaptertune_deploy.train.prepare import prepare
from adaptertune_deploy.train.request.recipe import Recipe
from adaptertune_deploy.train.request.request import TrainRequest
from adaptertune_deploy.train.run import Run
from benchmarks.training import speed
from benchmarks.training.speed import PARTS, PLACEMENTS, measure_command, measure_steps
from benchmarks.training.speed_page import page
from tests.train.runs import make_pictures

NETWORK = "test_vit"


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Namespace:
    """What the command would be given, on small pictures and a network with drawn weights."""
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    weights = tmp_path / "weights.safetensors"
    save_file({name: value.contiguous() for name, value in timm.create_model(NETWORK).state_dict().items()}, weights)
    pictures = make_pictures(tmp_path / "trees", 6)

    def run(given: Namespace, placement: str, views: int) -> Run:
        recipe = Recipe(rank=2, batch_size=4, placement=placement, views=views, device="cpu", precision=given.precision)
        request = TrainRequest(str(pictures), f"{NETWORK}.random", tmp_path / "out", recipe, allow_random=True)
        return prepare(request, lambda *step: None)

    monkeypatch.setattr(speed, "prepared", run)
    monkeypatch.setattr(speed, "BACKBONE", NETWORK)
    return Namespace(rounds=1, clock="cpu", weights=weights, precision="bf16", data=tmp_path, threads=1)


def test_every_loop_and_part_is_timed(given: Namespace) -> None:
    found = measure_steps(given)
    assert [(row["placement"], row["loop"]) for row in found["rows"]] == [
        ("all", "reference"),
        ("all", "product"),
        ("all, fixed views", "product"),
        ("last:4", "reference"),
        ("last:4", "product"),
        ("last:4, fixed views", "product"),
    ]
    for row in found["rows"]:
        assert set(row["milliseconds"]) == set(PARTS)
        assert all(spread["median"] > 0 for spread in row["milliseconds"].values())
    assert found["rows"][0]["faster"]["median"] == found["rows"][3]["faster_than_same"]["median"] == 1
    assert found["settings"]["precision"] == "bf16"
    assert page({"Chip": {"steps": found}}).count("\n| last:4") == 6


def test_a_command_is_the_product_s_own_with_an_empty_cache(given: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = {"right": 3, "top1": 0.75, "top1_interval": [0.3, 0.95]}
    facts = {"train_images": 2040, "folder": "somewhere", "curve": [], "adapter": scores, "head": scores}
    asked: list[Any] = []

    def run(command: list[str], **options: Any) -> Any:
        asked.append((command, options["env"]))
        return SimpleNamespace(stdout=json.dumps(facts))

    monkeypatch.setattr(subprocess, "run", run)
    found = measure_command("flowers", ["--placement", "last:4"], given)
    (command, environment) = asked[0]
    assert command[2:4] == ["adaptertune_deploy", "train"]
    assert command[command.index("--placement") + 1] == "last:4"
    assert not Path(environment["ATD_CACHE"]).exists()  # it was the command's alone
    assert set(found["facts"]) == {"train_images", "adapter", "head"}
    assert "| flowers | `--placement last:4` | 2,040 | 0 | 180 |" in page({"Chip": {"commands": [found]}})


def test_placements_are_those_whose_gain_is_promised() -> None:
    assert set(PLACEMENTS) == {"all", "all, fixed views", "last:4", "last:4, fixed views"}
