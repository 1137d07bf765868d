"""benchmarks.precision.measure on the smallest network: graphs are asked and timed once, and what is there is kept."""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

if importlib.util.find_spec("openvino") is None:
    pytest.skip("OpenVINO is an extra of its own", allow_module_level=True)

from adaptertune_deploy.core.precision import Precision
from benchmarks.precision import measure, timing
from benchmarks.precision.measure import ARMS, EXACT, Arm
from tests.engines.golden import BUNDLE, GOLDEN

SOME = (EXACT, Arm("openvino", Precision.FP32))


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which everything is trained and exported: the small bundle, and a list of its images."""
    shutil.copytree(BUNDLE, tmp_path / "bundle")
    with (tmp_path / "flowers.csv").open("w", newline="") as text:
        rows = csv.writer(text)
        rows.writerow(("path", "label", "split"))
        labels = measure.bundle.read_manifest(BUNDLE).tasks[0].task.labels
        for place, path in enumerate(sorted((GOLDEN / "images").iterdir())):
            rows.writerow((path, labels[place % len(labels)], "test"))
        rows.writerow(("absent.jpg", labels[0], "train"))
    monkeypatch.setattr(measure, "prepare", lambda data, weights, work: work / "bundle")
    monkeypatch.setattr(measure, "TASK", "birds")
    monkeypatch.setattr(measure, "ARMS", SOME)
    return tmp_path


def command(work: Path, *more: str) -> tuple[list[str], Path]:
    file = work / "precision.json"
    return ["--data", "d", "--weights", "w", "--work", str(work), "--json", str(file), "--threads", "1", *more], file


def test_answers_are_compared_with_the_exact_ones_of_the_same_form(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, file = command(work, "--only", "answers")
    measure.main(arguments)
    (here,) = json.loads(file.read_text()).values()
    rows = here["answers"]["rows"]
    assert list(rows) == [f"{form}, {arm}" for form in ("shared", "merged") for arm in SOME]
    for name, row in rows.items():
        exact = "onnxruntime" in name
        assert (row["images"], row["same"], row["better"], row["worse"], row["p"]) == (4, 4, 0, 0, 1)
        assert (row["max"] == 0) is exact
        assert row["mean"] <= row["max"] < 1e-4
        assert row["cosine"] == pytest.approx(1, abs=1e-6)
        assert row["megabytes"] > 0.01
    monkeypatch.setattr(measure, "ask", lambda *_: pytest.fail("it was asked again"))
    measure.main(arguments)
    assert json.loads(file.read_text()) == {here["answers"]["machine"]["processor"]: here}
    file.write_text(json.dumps({"another": here}))
    with pytest.raises(pytest.fail.Exception, match="asked again"):  # another machine's answers are not this one's
        measure.main(arguments)


def test_differences_are_counted() -> None:
    exact = np.array([[2, 1, 0], [0, 1, 2], [1, 0, 0]], np.float32)
    found = measure.compare(np.array([[2, 1, 0], [0, 2.5, 2], [0, 1, 0]], np.float32), exact, np.array([0, 1, 0]))
    assert (found["same"], found["right"], found["better"], found["worse"]) == (1, 2, 1, 1)
    assert (found["max"], found["mean"]) == (1.5, pytest.approx(3.5 / 9))
    assert found["cosine"] == 0


def test_both_forms_are_timed_in_every_arm_against_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = timing.backbones.random_backbone("vit_pico_patch8_64")
    monkeypatch.setattr(timing, "backbone_of", lambda name, weights: backbone)
    size = backbone.spec.image_size
    monkeypatch.setattr(
        timing, "_photographs", lambda data, held: np.random.default_rng(0).random((8, 3, *size), np.float32)
    )
    given = SimpleNamespace(
        models="pico", batches="1,2", rounds=2, openings=1, threads=1, clock="cpu", data=tmp_path, weights=tmp_path
    )
    arms = {str(arm): arm.options(1) for arm in ARMS if arm.precision is not Precision.BF16 and not arm.rest}
    results: dict[str, Any] = {}
    for found in timing.measure(given, arms, results):  # type: ignore[arg-type]
        results["timing"] = json.loads(json.dumps(found))
    rows = results["timing"]["rows"]
    assert list(rows) == ["pico, 1", "pico, 2"]
    for timed in rows.values():
        assert timed.keys() == {timing.PLAIN, *(f"{form}, {arm}" for form in ("shared", "merged") for arm in arms)}
        assert timed[timing.TO]["ratio"] == {"median": 1, "low": 1, "high": 1}
        assert timed[timing.PLAIN]["to_plain"] == {"median": 1, "low": 1, "high": 1}
        assert all(row["milliseconds"]["low"] > 0 for row in timed.values())
    monkeypatch.setattr(timing, "write_graphs", lambda *_: pytest.fail("it was timed again"))
    assert not list(timing.measure(given, arms, results))  # type: ignore[arg-type]


def test_the_list_has_the_official_splits(shared_data: Path, tmp_path: Path) -> None:
    file = measure.write_list(shared_data, tmp_path / "list.csv")
    with file.open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert [sum(row["split"] == part for row in rows) for part in ("train", "test")] == [1020, 1020]
    assert len({row["path"] for row in rows}) == 2040
    assert Path(rows[0]["path"]).is_file()
