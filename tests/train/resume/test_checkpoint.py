"""train.resume.checkpoint: what is kept comes back bit by bit, and nothing else than this run's is taken for it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core.errors import FormatError, UsageError
from adaptertune_deploy.train.outcome.measured import Step
from adaptertune_deploy.train.resume.checkpoint import LABELS_OF_IMAGES, Checkpoints, Keeper, kept_setting
from adaptertune_deploy.train.resume.state_file import State
from adaptertune_deploy.train.resume.stopped import RUN_NAME, folder_of, is_stopped
from adaptertune_deploy.train.resume.stopwatch import RUN, Stopwatch

FACTS = {"task": "trees", "--lr": "0.006", "images": "ab" * 32}
FOLD = "seed 0 fold 1 of 2"
STATE = State(
    step=3,
    steps=8,
    tensors={
        "model.head.weight": np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32),
        "step.head.weight": np.array([3], np.float32),
        "losses": np.zeros(0, np.float32),
    },
    curve=(Step(2, 0.1 / 3, 1.25),),
    adapters_with_gradient=2,
    scaler={"scale": 65536.0, "_growth_tracker": 3.0},
)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(out: Path, every: float = 60.0, clock: Clock | None = None, **changes: str) -> Checkpoints:
    return Checkpoints(folder_of(out, "trees"), {**FACTS, **changes}, every, clock or Clock())


def resumed(out: Path, **changes: str) -> Checkpoints:
    checkpoints = opened(out, **changes)
    checkpoints.resume()
    return checkpoints


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    Keeper(opened(tmp_path), FOLD).save(STATE)
    assert is_stopped(tmp_path, "trees")
    found = Keeper(resumed(tmp_path), FOLD).load()
    assert found is not None
    assert {name: value.tobytes() for name, value in found.tensors.items()} == {
        name: value.tobytes() for name, value in STATE.tensors.items()
    }
    assert found.tensors["losses"].shape == (0,)
    facts = [{**vars(state), "tensors": None} for state in (found, STATE)]
    assert facts[0] == facts[1]


def test_the_latest_state_of_each_training_counts(tmp_path: Path) -> None:
    checkpoints = opened(tmp_path)
    for training, step in ((FOLD, 1), ("seed 0 all images", 2), (FOLD, 5)):
        checkpoints.save(training, dataclasses.replace(STATE, step=step))
    again = resumed(tmp_path)
    assert [found and found.step for found in map(again.load, (FOLD, "seed 0 all images", "seed 1 all images"))] == [
        5,
        2,
        None,
    ]


def test_it_is_time_after_so_many_seconds(tmp_path: Path) -> None:
    clock = Clock()
    checkpoints = opened(tmp_path, 60.0, clock)
    for now, due in ((159.9, False), (160.0, True)):
        clock.now = now
        assert checkpoints.due is due
    checkpoints.save(FOLD, STATE)
    assert not checkpoints.due


def test_the_seconds_of_a_run_are_kept_with_every_state_and_decide_nothing(tmp_path: Path) -> None:
    def kept(out: Path, watch: Stopwatch, resume: bool) -> Checkpoints:
        checkpoints = Checkpoints(folder_of(out, "trees"), FACTS, 60.0, Clock(), watch)
        if resume:
            checkpoints.resume()
        return checkpoints

    clock = Clock()
    for resume in (False, True, True):
        watch = Stopwatch(clock)
        watch.begin(RUN)
        clock.now += 5.0
        checkpoints = kept(tmp_path, watch, resume)
        clock.now += 7.0
        assert checkpoints.load(FOLD) is not None or not resume
        checkpoints.save(FOLD, STATE)
        clock.now += 100.0  # lost by a kill
    watch = Stopwatch(clock)
    kept(tmp_path, watch, True)
    assert watch.seconds(RUN) == 3 * 12.0


def test_a_training_that_an_older_version_kept_has_no_seconds(tmp_path: Path) -> None:
    opened(tmp_path).save(FOLD, STATE)
    path = folder_of(tmp_path, "trees") / RUN_NAME
    path.write_text(json.dumps({"format_version": 1, "decided": FACTS}))
    assert resumed(tmp_path).load(FOLD) is not None


def test_labels_that_changed_are_refused_and_those_that_an_older_version_did_not_know_are_not(tmp_path: Path) -> None:
    opened(tmp_path).save(FOLD, STATE)
    found = resumed(tmp_path, **{LABELS_OF_IMAGES: "ab"})
    assert found.load(FOLD) is not None
    found.save(FOLD, STATE)
    assert resumed(tmp_path, **{LABELS_OF_IMAGES: "ab"}).load(FOLD) is not None
    opened(tmp_path, **{LABELS_OF_IMAGES: "ab"}).save(FOLD, STATE)
    with pytest.raises(UsageError, match="had labels of the images ab, this one has cd"):
        resumed(tmp_path, **{LABELS_OF_IMAGES: "cd"})


def test_without_an_interval_nothing_is_kept(tmp_path: Path) -> None:
    clock = Clock()
    checkpoints = opened(tmp_path, 0.0, clock)
    clock.now = 1e9
    assert not checkpoints.due
    assert not checkpoints.stoppable
    checkpoints.save(FOLD, STATE)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_does_not_go_on_begins_anew(tmp_path: Path) -> None:
    opened(tmp_path).save(FOLD, STATE)
    anew = opened(tmp_path)
    assert anew.load(FOLD) is None
    assert not anew.stoppable  # stopped at once, it must not cost the older one
    anew.remove()
    assert resumed(tmp_path).load(FOLD) is not None
    anew.save("seed 0 all images", STATE)
    assert anew.stoppable
    assert resumed(tmp_path).load(FOLD) is None


def test_a_finished_run_leaves_nothing(tmp_path: Path) -> None:
    checkpoints = opened(tmp_path)
    assert checkpoints.stoppable
    checkpoints.save(FOLD, STATE)
    checkpoints.remove()
    assert list(tmp_path.iterdir()) == []
    assert not is_stopped(tmp_path, "trees")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"--lr": "0.003"}, "had --lr 0.006, this one has 0.003"),
        ({"images": "cd" * 32}, f"had images {'ab' * 32}, this one has {'cd' * 32}"),
    ],
)
def test_another_run_is_not_gone_on_with(changes: dict[str, str], said: str, tmp_path: Path) -> None:
    opened(tmp_path).save(FOLD, STATE)
    with pytest.raises(UsageError, match=rf"--resume: the stopped training in .*\.trees\.checkpoint {said}; give"):
        resumed(tmp_path, **changes)


def test_a_file_of_another_run_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).save(FOLD, STATE)
    checkpoints = resumed(tmp_path)
    opened(tmp_path, **{"--lr": "0.003"}).save(FOLD, STATE)
    with pytest.raises(FormatError, match="is of another run; without --resume it starts again"):
        checkpoints.load(FOLD)


@pytest.mark.parametrize("damage", [b"", b"\0" * 64, b"{}"])
def test_a_damaged_file_is_refused(damage: bytes, tmp_path: Path) -> None:
    opened(tmp_path).save(FOLD, STATE)
    (path,) = folder_of(tmp_path, "trees").glob("*.safetensors")
    path.write_bytes(damage)
    with pytest.raises(FormatError, match=r"fold-1-of-2\.safetensors: .*; remove this file, .*; without"):
        resumed(tmp_path).load(FOLD)
    path.unlink()
    assert resumed(tmp_path).load(FOLD) is None


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).save(FOLD, STATE)
    (folder_of(tmp_path, "trees") / "run.json").write_text("{")
    with pytest.raises(FormatError, match=r"run\.json: not readable as JSON .*; without --resume it starts again"):
        resumed(tmp_path)
    with pytest.raises(FormatError, match=r"run\.json: not readable as JSON"):
        kept_setting(folder_of(tmp_path, "trees"), "--seed")


def test_what_decided_a_stopped_training_can_be_asked_for(tmp_path: Path) -> None:
    opened(tmp_path, **{"--precision": "bf16"}).save(FOLD, STATE)
    folder = folder_of(tmp_path, "trees")
    assert (kept_setting(folder, "--precision"), kept_setting(folder, "--colour")) == ("bf16", None)


def test_a_state_that_can_not_be_written_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = opened(tmp_path)
    checkpoints.save(FOLD, STATE)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            checkpoints.save(FOLD, dataclasses.replace(STATE, step=7))
    found = resumed(tmp_path).load(FOLD)
    assert found is not None
    assert found.step == 3
