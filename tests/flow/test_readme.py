"""The README's commands do what it says: they are read from the file and run in a new folder."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.flow.conftest import Workspace

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def commands(heading: str) -> list[list[str]]:
    """Return the commands of the first code block below a heading, comments left out."""
    block = README.split(f"## {heading}\n", 1)[1].split("```", 2)[1].split("\n", 1)[1]
    lines = [line.partition("  #")[0].strip() for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line and not line.startswith("#")]


def test_the_first_commands_are_the_makefiles() -> None:
    assert commands("Start") == [["make", "quickstart"], ["make", "test"]]
    for _, target in commands("Start"):
        planned = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True)
        assert {"quickstart": "atd quickstart", "test": "pytest"}[target] in planned.stdout


def test_the_pip_commands_name_extras_that_exist() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    installs = [command for command in commands("Install") if command[:2] == ["pip", "install"]]
    assert len(installs) >= 2
    for command in installs:
        extras = re.search(r"\[(.*)\]", command[-1])
        for extra in extras[1].split(",") if extras else []:
            assert re.search(rf"^{extra} = \[", text, re.MULTILINE), extra


def test_the_commands_of_the_product_run_as_written(workspace: Workspace, shared_data: Path, tmp_path: Path) -> None:
    """They run where the quickstart ran, so the backbone is the one that ships in the package."""
    shutil.copytree(workspace.folder / "adapters", tmp_path / "adapters")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pets").symlink_to(shared_data / "pets")
    (tmp_path / "cat.jpg").write_bytes(next((shared_data / "pets").rglob("*.jpg")).read_bytes())
    ran = []
    for command in commands("The commands"):
        assert command[0] == "atd"
        if command[1] == "serve":
            continue
        shortened = [*command, "--epochs", "1"] if command[1] == "train" else command
        full = [sys.executable, "-m", "adaptertune_deploy", *shortened[1:]]
        done = subprocess.run(full, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, (command, done.stderr)
        ran.append(command[1])
    assert ran[:2] == ["train", "export"]
    assert {"predict", "evaluate", "add"} <= set(ran)
    assert (tmp_path / "adapters" / "pets" / "adapter_config.json").is_file()
    assert (tmp_path / "bundle" / "manifest.json").is_file()
