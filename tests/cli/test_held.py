"""atd tasks: what a bundle holds."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Atd


def test_a_table_names_tasks_graphs_and_what_was_measured(atd: Atd, folder: Path) -> None:
    manifest = json.loads((folder / "bundle" / "manifest.json").read_text())
    done = atd("tasks")
    assert (done.code, done.err) == (0, "")
    assert "bundle/: 2 tasks on " in done.out
    rows = [line.split() for line in done.out.splitlines()]
    for entry in manifest["parity"]:
        form = "merged" if entry["graph"].startswith("merged/") else "shared"
        (row,) = [row for row in rows if row[:1] == [entry["task"]] and form in row]
        assert {"fp32", str(entry["images"]), f"{entry['max_abs']:.1e}"} <= set(row)
    assert any(row[:3] == ["(backbone)", "shared", "fp32"] for row in rows)


def test_a_task_that_was_not_measured_says_so(atd: Atd) -> None:
    atd("add", "adapters/trees")
    (line,) = [line for line in atd("tasks").out.splitlines() if line.split()[:1] == ["trees"]]
    assert "not measured" in line


def test_json_is_the_manifest(atd: Atd, folder: Path) -> None:
    done = atd("tasks", "--json")
    assert json.loads(done.out) == json.loads((folder / "bundle" / "manifest.json").read_text())


def test_an_absent_bundle_is_one_line(atd: Atd) -> None:
    done = atd("tasks", "--bundle", "nowhere")
    assert done.code != 0
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert len(done.err.splitlines()) == 1
