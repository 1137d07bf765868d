"""A folder in which the quickstart has run once, for every test that goes on from there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Workspace:
    """A folder with adapters/ and bundle/, and what the quickstart printed."""

    folder: Path
    facts: dict[str, Any]

    def atd(self, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run_atd(self.folder, *arguments, check=check)


def run_atd(folder: Path, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder, as a user would; its output is captured."""
    command = [sys.executable, "-m", "adaptertune_deploy", *map(str, arguments)]
    environment = {**os.environ, "ATD_CACHE": str(folder / "cache"), "COLUMNS": "160"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert not check or done.returncode == 0, f"{arguments} ended with {done.returncode}:\n{done.stderr}"
    return done


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Run `atd quickstart` once, shortened to one epoch a task."""
    folder = tmp_path_factory.mktemp("workspace")
    done = run_atd(folder, "quickstart", "--epochs", "1", "--json")
    return Workspace(folder, json.loads(done.stdout))
