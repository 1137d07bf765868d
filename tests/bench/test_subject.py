from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.bench.subject import asking, disk_bytes, open_tasks, repeated
from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.core.images.preprocess import preprocess
from adaptertune_deploy.engines.options import ON_CPU
from tests.bench.golden import GOLDEN, golden_logits


def test_tasks_are_repeated_in_turn(folder: Path) -> None:
    manifest = read_manifest(folder / "bundle")
    assert [record.task.name for record in repeated(manifest, 5)] == ["birds", "cars", "birds", "cars", "birds"]


@pytest.mark.parametrize("form", ["shared", "merged"])
@pytest.mark.parametrize("tasks", [1, 3])
def test_rows_ask_about_the_tasks_in_turn(folder: Path, form: str, tasks: int) -> None:
    manifest = read_manifest(folder / "bundle")
    paths = sorted((GOLDEN / "images").iterdir())
    images = np.stack([preprocess(path.read_bytes(), manifest.preprocess) for path in paths])
    session = open_tasks(folder / "bundle", manifest, form, ON_CPU, tasks)
    assert (session.form, len(session.tasks)) == (form, tasks)
    rows = asking(session, images)()
    session.close()
    for place, logits in enumerate(rows):
        name = ("birds", "cars", "birds")[place % tasks]
        np.testing.assert_allclose(logits, golden_logits()[name][place], atol=1e-4)


def test_one_graph_lies_on_the_disk_for_all_tasks_or_one_for_each(folder: Path) -> None:
    bundle = folder / "bundle"
    manifest = read_manifest(bundle)
    size = {name: next(bundle.glob(f"{name}-*")).stat().st_size for name in ("merged/birds", "merged/cars", "backbone")}
    tensors = {name: next(bundle.glob(f"adapters/{name}-*")).stat().st_size for name in ("birds", "cars")}
    merged = disk_bytes(bundle, manifest, "merged", ON_CPU, 3)
    assert merged == 2 * size["merged/birds"] + size["merged/cars"]
    assert (
        disk_bytes(bundle, manifest, "shared", ON_CPU, 3) == size["backbone"] + 2 * tensors["birds"] + tensors["cars"]
    )
