"""A run that was stopped goes on with --resume and ends as if nobody had stopped it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.train.device import device as devices
from adaptertune_deploy.train.outcome.measured import HEAD
from adaptertune_deploy.train.request.preflight import check_train
from adaptertune_deploy.train.resume.stopped import RUN_NAME
from adaptertune_deploy.train.trainer import train_task
from tests.train.trainer.trainings import RECIPE, ask, replace_backbone


class Killed(Exception):  # noqa: N818  what a kill looks like from within
    """The process ended here."""


MOMENTS = (
    ("fold 1 of 2", 2, 0),
    ("fold 1 of 2, answers", 1, 1),
    ("fold 2 of 2", 3, 0),
    ("all images", 2, 1),
    ("test adapter", 1, 0),
)
TWICE = dataclasses.replace(RECIPE, seeds=2)


def spend(folder: Path, seconds: float) -> None:
    """Let a killed run have taken longer."""
    kept = json.loads((folder / RUN_NAME).read_text())
    kept["spent"]["run"] += seconds
    (folder / RUN_NAME).write_text(json.dumps(kept))


def trained(folder: Path) -> tuple[str, str]:
    """Return what must not depend on a stop: the hash of the tensors, and the answers that were measured."""
    config = adapters.read_config(folder)
    return config.tensors_sha256, json.dumps(config.metrics)


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Return what a run comes to that nobody stopped."""
    with pytest.MonkeyPatch.context() as patched:
        replace_backbone(patched)
        return trained(train_task(ask(pictures, tmp_path_factory.mktemp("whole"), TWICE)).folder)


@pytest.mark.parametrize(("what", "step", "turn"), MOMENTS)
def test_a_run_killed_at_any_moment_ends_as_if_it_had_not_been(
    what: str, step: int, turn: int, pictures: Path, whole: tuple[str, str], tmp_path: Path, tiny: None
) -> None:
    reached = [0]

    def kill(now: str, done: int, total: int) -> None:
        reached[0] += (now, done) == (what, step)
        if reached[0] == turn + 1:
            raise Killed

    request = ask(pictures, tmp_path / "killed", TWICE, checkpoint_every=1e-9)
    with pytest.raises(Killed):
        train_task(request, kill)
    spend(tmp_path / "killed" / ".trees.checkpoint", 1_000.0)
    assert [path.name for path in (tmp_path / "killed").iterdir()] == [".trees.checkpoint"]
    steps: list[str] = []
    result = train_task(
        dataclasses.replace(request, resume=True), lambda now, done, _: steps.append(now) if done else None
    )
    assert trained(result.folder) == whole
    assert result.measured.seconds > 1_000.0
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["trees"]
    if turn or what != "fold 1 of 2":
        assert steps.count("fold 1 of 2") < 2 * 3  # what was finished before is not trained again


def test_another_recipe_does_not_go_on(pictures: Path, tmp_path: Path, tiny: None) -> None:
    def kill(now: str, done: int, total: int) -> None:
        if now == "fold 2 of 2":
            raise Killed

    with pytest.raises(Killed):
        train_task(ask(pictures, tmp_path), kill)
    other = dataclasses.replace(RECIPE, lr=1e-3)
    with pytest.raises(UsageError, match=r"had --lr 0\.005, this one has 0\.001; give the same command"):
        train_task(ask(pictures, tmp_path, other, resume=True))
    assert (
        train_task(ask(pictures, tmp_path, dataclasses.replace(RECIPE, ship="head"), resume=True)).config.ships == HEAD
    )


@pytest.mark.parametrize("chosen", ["bf16", "fp32"])
def test_the_precision_that_was_chosen_stays_where_the_machine_would_choose_another(
    chosen: str, pictures: Path, tmp_path: Path, tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on another machine: one where bf16 is faster, the other where it is not."""

    def kill(now: str, done: int, total: int) -> None:
        if now == "fold 2 of 2":
            raise Killed

    recipe = dataclasses.replace(RECIPE, precision="auto")
    monkeypatch.setattr(devices, "_best_precision", lambda _: chosen)
    with pytest.raises(Killed):
        train_task(ask(pictures, tmp_path, recipe), kill)
    monkeypatch.setattr(devices, "_best_precision", lambda _: {"bf16": "fp32", "fp32": "bf16"}[chosen])
    again = train_task(ask(pictures, tmp_path, recipe, resume=True)).config
    assert again.recipe is not None
    assert again.recipe.precision == chosen


def test_preflight_knows_of_a_stopped_run(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--resume: no training of 'trees' was stopped in"):
        check_train(ask(pictures, tmp_path, resume=True))
