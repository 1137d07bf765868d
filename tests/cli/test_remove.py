from __future__ import annotations

import json
from pathlib import Path

from adaptertune_deploy.core.bundle.folder import read_manifest
from tests.cli.conftest import Atd


def test_a_task_is_removed_with_its_files(atd: Atd, folder: Path) -> None:
    before = read_manifest(folder / "bundle")
    done = atd("remove", "cars")
    assert (done.code, done.err) == (0, "")
    assert done.out == "removed cars from bundle/: 1 task left\n"
    after = read_manifest(folder / "bundle")
    assert [record.task.name for record in after.tasks] == ["birds"]
    for file in before.files:
        assert (folder / "bundle" / file).exists() == (file in after.files)
    done = atd("remove", "birds", "--json")
    assert json.loads(done.out) == {"task": "birds", "removed_from": "bundle/", "tasks": []}


def test_an_unknown_task_or_bundle_is_one_line(atd: Atd, folder: Path) -> None:
    done = atd("remove", "car")
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: the bundle holds no task 'car', only birds, cars. Did you mean 'cars'?\n"
    done = atd("remove", "cars", "--bundle", "nowhere")
    assert done.code == 1
    assert done.err.startswith("error: nowhere: holds no manifest.json")
    assert not (folder / "nowhere").exists()
