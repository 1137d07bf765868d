"""A folder in which the quickstart has run, which it does once, for every test that goes on from there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adaptertune_deploy.core.storage import files
from tests.flow.playing import atd_command, copy_golden, environment, play


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """Return a folder with the golden bundle, adapters and images in it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    return copy_golden(folder)


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future]]:
    """Play the module's MISTAKES that were selected, as many at a time as there are cores: each is mostly start-up."""
    items = [item for item in request.session.items if getattr(item, "module", None) is request.module]
    names = [item.callspec.params.get("name") for item in items if hasattr(item, "callspec")]
    mistakes = {name: request.module.MISTAKES[name] for name in names if name in request.module.MISTAKES}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {
            name: pool.submit(lambda mistake=mistake: play(mistake, copy_golden(tmp_path_factory.mktemp("played"))))
            for name, mistake in mistakes.items()
        }


@dataclass(frozen=True)
class Workspace:
    """What the quickstart left.

    above: the folder in which it ran.
    folder: the folder that it made there, with adapters/ and bundle/.
    facts: what it printed.
    held: what lay in both folders when it ended; tests that go on from there add to the second.
    """

    above: Path
    folder: Path
    facts: dict[str, Any]
    held: tuple[list[str], list[str]]

    def atd(self, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run_atd(self.folder, *arguments, check=check)


def run_atd(folder: Path, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder, as a user would; its output is captured."""
    variables = environment(torch=True, place=folder) | {"ATD_CACHE": str(folder.parent / f"{folder.name}-cache")}
    done = subprocess.run(
        atd_command(*arguments), cwd=folder, env=variables, capture_output=True, text=True, timeout=600
    )
    assert not check or done.returncode == 0, f"{arguments} ended with {done.returncode}:\n{done.stderr}"
    return done


@pytest.fixture(scope="session")
def quickstarted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Run `atd quickstart` once for all workers, shortened to one epoch a task; return its folder and its facts."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    above, printed = base / "quickstarted", base / "quickstarted.json"
    with files.locked(base / "quickstarted.lock", lambda: None):
        if not printed.exists():
            above.mkdir()
            printed.write_text(run_atd(above, "quickstart", "--epochs", "1", "--json").stdout)
    return above, json.loads(printed.read_text())


@pytest.fixture(scope="module")
def workspace(quickstarted: tuple[Path, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a copy, the module's own, of what the quickstart left."""
    made, facts = quickstarted
    above = tmp_path_factory.mktemp("workspace") / "above"
    shutil.copytree(made, above)
    folder = above / "quickstart"
    held = (sorted(os.listdir(above)), sorted(os.listdir(folder)))
    return Workspace(above, folder, facts, held)
