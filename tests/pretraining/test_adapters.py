from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from pretraining import adapters


def test_both_backbones_are_trained_on_both_datasets_with_every_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        seed = int(command[command.index("--seed") + 1])
        answer = {"head_only": {"top1": 0.5}, "adapter": {"top1": 0.8 + seed / 100}}
        return subprocess.CompletedProcess(command, 0, json.dumps(answer))

    monkeypatch.setattr(subprocess, "run", run)
    adapters.main(["--cifar10", str(tmp_path), "--out", str(tmp_path / "results.json")])
    measured = json.loads((tmp_path / "results.json").read_text())["adapter_percent"]
    assert measured["digits"]["random"]["adapter"] == {"mean": 81.0, "std": 1.0, "runs": [80.0, 81.0, 82.0]}
    assert measured["cifar10"]["pretrained"]["head_only"]["mean"] == 50
    assert len(commands) == 12
    assert sum("--allow-random-backbone" in command for command in commands) == 6


def test_the_command_line_knows_the_options() -> None:
    from typer.testing import CliRunner

    from adaptertune_deploy.cli.main import app

    answer = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "200"})
    for option in ("--dataset", "--task", "--rank", "--seed", "--out", "--json", "--backbone"):
        assert option in answer.output
