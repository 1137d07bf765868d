from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from adaptertune_deploy.inspection.bundle import GOOD, inspect
from adaptertune_deploy.inspection.inspected import Size

GOLDEN = Path(__file__).parents[1] / "device" / "golden" / "bundle"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "bundle"))


def states(found: Any) -> dict[str, str]:
    graphs, tasks = found.sheets
    return {row[0]: row[2] for row in graphs.rows} | {row[1]: row[2] for row in tasks.rows}


def test_every_file_is_listed_and_whole(folder: Path) -> None:
    found = inspect(folder)
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert set(states(found)) == files - {"manifest.json"}
    assert set(states(found).values()) == {GOOD}
    assert found.facts["sizes"] == {name: (folder / name).stat().st_size for name in files}
    assert dict(found.summary)["size"] == Size(sum(found.facts["sizes"].values()))
    assert found.faults == ()


def test_facts_are_those_of_the_manifest(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    said = json.loads(json.dumps(inspect(folder).facts))
    for task in manifest["tasks"]:
        task.setdefault("accuracy", None)  # absent where nobody recorded one
    assert {name: said[name] for name in manifest} == manifest


def test_files_that_are_damaged_absent_or_strange(folder: Path) -> None:
    graph = next(folder.glob("backbone-*.onnx"))
    graph.write_bytes(graph.read_bytes()[:-1] + b"\0")
    tensors = next((folder / "adapters").glob("birds-*"))
    tensors.unlink()
    (folder / "notes.txt").write_text("x")
    found = inspect(folder)
    bad = {name for name, state in states(found).items() if state != GOOD}
    assert bad == {graph.name, f"adapters/{tensors.name}"}
    assert len(found.faults) == 2
    assert "sha256 is" in found.faults[0]
    assert "no such file" in found.faults[1]
    assert found.facts["unnamed_files"] == ["notes.txt"]
    assert dict(found.summary)["other files"] == "notes.txt"
