from __future__ import annotations

import json
from pathlib import Path

from adaptertune_deploy.core.bundle import read_manifest
from tests.cli.conftest import Atd


def test_a_task_is_added_and_named(atd: Atd, folder: Path) -> None:
    done = atd("add", "adapters/trees")
    assert done.code == 0
    assert "added trees to bundle/" in done.out
    assert "atd serve --bundle bundle --adapters trees" in done.out
    assert [record.task.name for record in read_manifest(folder / "bundle").tasks] == ["birds", "cars", "trees"]


def test_json_names_the_file(atd: Atd, folder: Path) -> None:
    facts = json.loads(atd("add", "adapters/trees", "--json").out)
    assert facts["task"] == "trees"
    assert (folder / facts["file"]).is_file()


def test_an_absent_adapter_is_one_line(atd: Atd) -> None:
    done = atd("add", "adapters/fish")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: adapters/fish: no such adapter folder")
