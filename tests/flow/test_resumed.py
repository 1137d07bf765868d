"""A training that a signal ends, in a process of its own, goes on and ends in the weights that it would have had."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core.adapter.folder import read_config
from adaptertune_deploy.train.resume.stopped import folder_of, is_stopped
from tests.flow.playing import run
from tests.flow.terminal import OnTerminal
from tests.train.runs import make_pictures

PICO = "vit_pico_patch8_64.atd_formula"
SETTINGS = ("--backbone", PICO, "--rank", "2", "--folds", "2", "--epochs", "20", "--checkpoint-every", "0.001")
TRAIN = ("train", "--dataset", "trees", *SETTINGS)
HITS = 10


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("pictures") / "trees", 14)


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the hash of the weights of a training that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole")
    shutil.copytree(pictures, folder / "trees")
    done = run(folder, *TRAIN, torch=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return read_config(folder / "adapters" / "trees").tensors_sha256


@pytest.fixture
def folder(pictures: Path, tmp_path: Path) -> Path:
    shutil.copytree(pictures, tmp_path / "folder" / "trees")
    return tmp_path / "folder"


def resume(folder: Path) -> str:
    """Go on with what was stopped; returns the hash of the weights."""
    done = run(folder, *TRAIN, "--resume", "--json", torch=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["task"] == "trees"
    assert [path.name for path in (folder / "adapters").iterdir()] == ["trees"]
    return read_config(folder / "adapters" / "trees").tensors_sha256


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)], ids=["stopped", "killed"]
)
def test_a_stopped_training_goes_on(number: signal.Signals, code: int, folder: Path, whole: str) -> None:
    with OnTerminal(folder, *TRAIN) as running:
        running.wait_for("fold 2 of 2")
        running.process.send_signal(number)
        assert running.end() == code
    assert "Traceback" not in running.shown
    if number is not signal.SIGKILL:
        assert "nothing was written; the same command with --resume goes on where it stopped" in " ".join(
            running.shown.split()
        )
    assert folder_of(folder / "adapters", "trees").is_dir()
    assert resume(folder) == whole


@pytest.mark.slow
def test_a_training_killed_again_and_again_at_random_moments_goes_on(folder: Path, whole: str) -> None:
    """Each of the runs goes on with what the one before left, and is killed in its turn; one that ends starts anew."""
    generator = np.random.default_rng(0)
    hits, latest = 0, 6.0
    while hits < HITS:
        with OnTerminal(folder, *TRAIN, *(["--resume"] if is_stopped(folder / "adapters", "trees") else [])) as running:
            running.wait_for("frozen features of train")
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.end(float(generator.uniform(0, latest)))
            killed = running.process.poll() is None
            running.process.kill()
            running.end()
        hits, latest = (hits + 1, latest) if killed else (hits, 0.8 * latest)  # sooner, on a machine that is faster
        if (folder / "adapters" / "trees").exists():
            assert read_config(folder / "adapters" / "trees").tensors_sha256 == whole
            shutil.rmtree(folder / "adapters" / "trees")
    assert not is_stopped(folder / "adapters", "trees") or resume(folder) == whole
