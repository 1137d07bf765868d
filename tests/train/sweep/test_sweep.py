"""train.sweep.sweep: every rank is trained with every seed, and compared as `--rank auto` compares it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.train import prepare as preparing
from adaptertune_deploy.train.request.recipe import AUTO, Recipe
from adaptertune_deploy.train.request.request import TrainRequest
from adaptertune_deploy.train.resume.claim import claimed
from adaptertune_deploy.train.resume.stopped import folder_of
from adaptertune_deploy.train.sweep.sweep import sweep_ranks
from adaptertune_deploy.train.sweep.swept import Sweep, read
from adaptertune_deploy.train.trainer import train_task
from tests.model.builders import make_backbone
from tests.train.runs import make_pictures

RECIPE = Recipe(
    rank=2,
    placement="last:2",
    epochs=1,
    batch_size=8,
    folds=2,
    seeds=2,
    lr=5e-3,
    precision="fp32",
    device="cpu",
    workers=0,
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("data") / "trees", 14)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "load_backbone", lambda *_, **__: make_backbone())
    monkeypatch.setattr(preparing, "backbone_depth", lambda *_: 3)


def ask(pictures: Path, out: Path, **changes: object) -> TrainRequest:
    return TrainRequest(str(pictures), "tiny", out, RECIPE, **{"checkpoint_every": 1e-9, **changes})  # type: ignore[arg-type]


def without_time(sweep: Sweep) -> Sweep:
    return dataclasses.replace(sweep, seconds=0.0)


def test_a_recipe_that_searches_its_rank_is_swept_like_another(pictures: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, rank=8, search=AUTO, seeds=1)
    sweep = sweep_ranks(dataclasses.replace(ask(pictures, tmp_path), recipe=recipe), [2], nested=True)
    assert {one.method for one in sweep.ranks} == {"adapter", "nested"}


def test_a_sweep_takes_no_place_of_a_training(pictures: Path, tmp_path: Path) -> None:
    with claimed(tmp_path, "trees"), pytest.raises(UsageError, match="task 'trees' is being trained into"):
        sweep_ranks(ask(pictures, tmp_path), [2])
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_holds_what_single_trainings_come_to(pictures: Path, tmp_path: Path) -> None:
    sweep = sweep_ranks(ask(pictures, tmp_path), [4, 1])
    assert [one.rank for one in sweep.ranks] == [0, 1, 4]
    assert (sweep.seeds, sweep.folds) == ((0, 1), 2)
    assert sweep.enough in sweep.alike
    assert read(tmp_path / "trees.json") == sweep
    assert (tmp_path / "trees.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trees.json", "trees.png"]
    recipe = dataclasses.replace(RECIPE, rank=4)
    alone = train_task(dataclasses.replace(ask(pictures, tmp_path / "adapters"), recipe=recipe)).measured
    assert alone.adapter is not None
    assert alone.gate is not None
    assert alone.gate.adapter is not None
    assert alone.gate.head is not None
    last = sweep.ranks[-1]
    assert last.parameters == alone.adapter.parameters
    assert last.test_top1 == (alone.adapter.scores.top1, alone.repeats[0].adapter.scores.top1)
    assert last.loss == pytest.approx(alone.gate.adapter.loss)
    assert sweep.ranks[0].loss == pytest.approx(alone.gate.head.loss)
    assert sweep.ranks[0].test_top1 == (alone.head.scores.top1,)


def test_what_full_fine_tuning_refuses_ends_a_sweep_before_any_work(pictures: Path, tmp_path: Path) -> None:
    request = dataclasses.replace(ask(pictures, tmp_path), recipe=dataclasses.replace(RECIPE, views=2))
    with pytest.raises(UsageError, match="--full: --views 2: keeps what no step changes"):
        sweep_ranks(request, [1], lambda *_: pytest.fail("it began"), full=True)
    assert list(tmp_path.iterdir()) == []


def test_an_adapter_folder_beside_the_results_is_left_alone(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "trees").mkdir()
    (tmp_path / "trees" / "notes.txt").write_text("mine")
    sweep_ranks(dataclasses.replace(ask(pictures, tmp_path), recipe=dataclasses.replace(RECIPE, seeds=1)), [1])
    assert (tmp_path / "trees" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "trees.json").is_file()


def test_a_sweep_that_was_stopped_goes_on(pictures: Path, tmp_path: Path) -> None:
    whole = sweep_ranks(ask(pictures, tmp_path / "whole"), [1, 4])

    def stop(what: str, done: int, total: int) -> None:
        if what == "rank 4, fold 1 of 2" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep_ranks(ask(pictures, tmp_path / "stopped"), [1, 4], stop)
    assert folder_of(tmp_path / "stopped", "trees").is_dir()
    seen: list[str] = []
    again = ask(pictures, tmp_path / "stopped", resume=True)
    found = sweep_ranks(again, [1, 4], lambda what, done, total: seen.append(what))
    assert without_time(found) == without_time(whole)
    assert "rank 1, seed 1" not in seen  # it was finished before


def test_nested_adapters_are_one_more_training_of_every_fold_and_seed(pictures: Path, tmp_path: Path) -> None:
    seen: dict[str, None] = {}
    found = sweep_ranks(ask(pictures, tmp_path), [2], lambda what, done, total: seen.setdefault(what), nested=True)
    assert [(one.rank, one.method) for one in found.ranks] == [
        (0, "adapter"),
        (2, "adapter"),
        (1, "nested"),
        (2, "nested"),
    ]
    assert read(tmp_path / "trees.json") == found
    assert {
        "nested, fold 1 of 2",
        "nested, fold 2 of 2",
        "nested rank 2, seed 0",
        "nested rank 2, seed 1",
    } <= seen.keys()


def test_too_few_images_are_measured_and_not_compared(tmp_path: Path) -> None:
    few = make_pictures(tmp_path / "few" / "trees", {"train": 4, "test": 3})
    sweep = sweep_ranks(ask(few, tmp_path / "out"), [2])
    assert (sweep.enough, sweep.alike) == (None, ())
    assert [(one.loss, one.above) for one in sweep.ranks] == [(None, None)] * 2
    assert len(sweep.ranks[1].test_top1) == 2
