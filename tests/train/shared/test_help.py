"""train.shared.help: two processes of torchrun end in the weights of one, and a failure of one is one line."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adaptertune_deploy.core.adapter.folder import read_adapter
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.train.device.device import Device
from adaptertune_deploy.train.parallel.launch import Launch
from adaptertune_deploy.train.request.recipe import Recipe
from adaptertune_deploy.train.request.request import TrainRequest
from adaptertune_deploy.train.shared import help as module
from adaptertune_deploy.train.sweep.sweep import sweep_ranks
from adaptertune_deploy.train.trainer import train_task
from tests.train.runs import make_pictures

ROOT = Path(__file__).parents[3]
BACKBONE = "vit_pico_patch8_64.random"
OPTIONS = [
    "--placement",
    "last:2",
    "--rank",
    "2",
    "--epochs",
    "1",
    "--batch-size",
    "9",
    "--folds",
    "1",
    "--ship",
    "adapter",
]
OPTIONS += ["--precision", "fp32", "--device", "cpu", "--dropout", "0.1", "--log", "csv", "--allow-random-backbone"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("data") / "trees", 14)


TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--", "adaptertune_deploy"]


def start(command: list[str], pictures: Path, out: Path, **environment: str) -> subprocess.Popen[str]:
    options = ["train", "--dataset", str(pictures), "--backbone", BACKBONE, *OPTIONS, "--out", str(out), "--json"]
    return begin([*command, *options], out, **environment)


def begin(command: list[str], out: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "ATD_CACHE": str(out / "cache"), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_of_torchrun_end_in_the_weights_of_one(pictures: Path, tmp_path: Path) -> None:
    output, said = start(TORCHRUN, pictures, tmp_path / "two").communicate(timeout=600)
    assert output, said
    facts = json.loads(output)  # one document: the other process prints nothing
    assert facts["recipe"]["steps"] == 4
    assert said.count("licence of") == 1
    recipe = Recipe(
        placement="last:2",
        rank=2,
        epochs=1,
        batch_size=9,
        folds=1,
        ship="adapter",
        precision="fp32",
        device="cpu",
        dropout=0.1,
    )
    train_task(TrainRequest(str(pictures), BACKBONE, tmp_path / "one", recipe, allow_random=True))
    one, two = (read_adapter(tmp_path / name / "trees", "adapter")[1].tensors for name in ("one", "two"))
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=1e-3, atol=2e-5, err_msg=name)
    assert any(np.abs(value).max() > 1e-3 for name, value in one.items() if "up" in name)
    with (tmp_path / "two" / "trees" / "report" / "log" / "steps.csv").open() as text:
        rows = [(row["training"], row["step"]) for row in csv.DictReader(text)]
    assert rows == [("seed 0 rank 2 all images", str(step)) for step in range(1, 5)]


def test_two_processes_of_torchrun_sweep_as_one_does(pictures: Path, tmp_path: Path) -> None:
    recipe = Recipe(placement="last:2", epochs=1, batch_size=9, folds=2, seeds=1, precision="fp32", device="cpu")
    words = "--placement last:2 --epochs 1 --batch-size 9 --folds 2 --seeds 1 --precision fp32 --device cpu"
    asked = ["sweep", "--dataset", str(pictures), "--backbone", BACKBONE, "--allow-random-backbone", "--ranks", "1,2"]
    command = [*TORCHRUN, *asked, "--nested", *words.split(), "--out", str(tmp_path), "--json"]
    output, said = begin(command, tmp_path).communicate(timeout=600)
    assert output, said
    found = json.loads(output)["ranks"]
    request = TrainRequest(str(pictures), BACKBONE, tmp_path / "one", recipe, allow_random=True)
    expected = sweep_ranks(request, [1, 2], nested=True).ranks
    assert [(row["rank"], row["method"]) for row in found] == [(one.rank, one.method) for one in expected]
    assert len(found) == 5
    for row, one in zip(found, expected, strict=True):
        assert row["loss"] == pytest.approx(one.loss, rel=1e-3)


FAILING = """
import sys
from adaptertune_deploy.cli import main
from adaptertune_deploy.core.errors import TrainingError
from adaptertune_deploy.train.shared import help

def fail(*given):
    raise TrainingError("out of memory on cpu")

help._take_part = fail
main.run()
"""


def test_a_process_that_fails_ends_all_with_one_line(pictures: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    both = [start(["-c", FAILING], pictures, tmp_path, RANK=rank, LOCAL_RANK=rank, **shared) for rank in "01"]
    ended = [(*one.communicate(timeout=600), one.returncode) for one in both]
    assert ended[1] == ("", "", 1)
    assert ended[0][0] == ""
    assert ended[0][2] == 1
    assert ended[0][1].splitlines()[-1] == "error: process 1 of 2: out of memory on cpu"
    assert "Traceback" not in ended[0][1]
    assert not (tmp_path / "trees").exists()


def test_a_gpu_is_the_one_of_this_place(monkeypatch: pytest.MonkeyPatch) -> None:
    class Two:
        local_rank = 1

    group: Any = Two()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert module._device(Device(torch.device("cuda"), "bf16"), group) == Device(torch.device("cuda:1"), "bf16")
    assert module._device(Device(torch.device("cpu"), "bf16"), group) == Device(torch.device("cpu"), "bf16")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="process 1 of this machine has no GPU; it has 1"):
        module._device(Device(torch.device("cuda"), "bf16"), group)


@pytest.mark.parametrize("comes", [True, False])
def test_signals_are_the_first_processs_once_it_is_connected(comes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    set_to: list[tuple[int, Any]] = []
    monkeypatch.setattr(signal, "signal", lambda number, handler: set_to.append((number, handler)))

    class Gone:
        def __init__(self, launch: Launch) -> None:
            if not comes:
                raise module.LostError("another process of this training ended")

        def receive(self) -> None:
            raise module.LostError("another process of this training ended")

    monkeypatch.setattr(module, "Group", Gone)
    assert module.help_train(Launch(1, 2, 1)) == 1
    handlers = [signal.SIG_DFL, signal.SIG_IGN] if comes else [signal.SIG_DFL]
    assert set_to == [(number, handler) for handler in handlers for number in (signal.SIGINT, signal.SIGTERM)]
