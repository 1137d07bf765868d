"""core.answers.accuracy: what training measured of the candidate that ships goes into the bundle's manifest."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.adapter.folder import AdapterConfig
from adaptertune_deploy.core.answers.accuracy import AccuracyRecord, recorded
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle import publish
from tests.builders import make_adapter, make_config, make_task, make_widths, write_adapter, write_bundle

METRICS = {"test_top1_head": 0.6, "test_top1_adapter": 0.8}


def measured(metrics: dict[str, float], test: int = 20) -> AdapterConfig:
    config = make_config()
    return dataclasses.replace(config, metrics=metrics, dataset=dataclasses.replace(config.dataset, test=test))


@pytest.mark.parametrize(("ship", "right"), [("adapter", 16), ("head", 12)])
def test_the_candidate_that_ships_decides(ship: str, right: int) -> None:
    config = measured(METRICS)
    assert recorded(config, config.shipped(ship)) == AccuracyRecord("squares", 20, right)


def test_adapters_that_are_cut_have_their_own_accuracy() -> None:
    config = dataclasses.replace(measured({**METRICS, "test_top1_adapter-1": 0.7}), widths=make_widths(1, 2))
    assert recorded(config, config.shipped("adapter-1")) == AccuracyRecord("squares", 20, 14)


@pytest.mark.parametrize(
    "config",
    [measured({}), measured({"test_top1_head": 1.0}), measured(METRICS, 0), measured({"test_top1_adapter": 7})],
)
def test_what_nobody_measured_is_not_made_up(config: AdapterConfig) -> None:
    assert recorded(config, config.shipped("adapter")) is None


@pytest.mark.parametrize(("images", "right"), [(0, 0), (5, 6), (5, -1)])
def test_counts_that_cannot_be_are_refused(images: int, right: int) -> None:
    with pytest.raises(ValueError, match=f"{right} right of {images} images"):
        AccuracyRecord("squares", images, right)


def test_it_goes_into_the_manifest_and_is_no_part_of_the_task(tmp_path: Path) -> None:
    place, source = tmp_path / "bundle", tmp_path / "fish"
    write_bundle(place, [make_adapter(make_task("pets"))])
    write_adapter(source, make_task("fish", 4))
    adapters.write_config(source, dataclasses.replace(adapters.read_config(source), metrics=METRICS))
    record = publish.add_task(place, source)
    assert bundle.read_manifest(place).tasks[1].accuracy == AccuracyRecord("squares", 20, 16)
    assert record == dataclasses.replace(record, accuracy=None)


def test_a_manifest_of_before_reads_as_one_that_knows_no_accuracy(tmp_path: Path) -> None:
    write_bundle(tmp_path, [make_adapter(make_task("pets"))])
    text = json.loads((tmp_path / bundle.MANIFEST_NAME).read_text())
    del text["tasks"][0]["accuracy"]
    (tmp_path / bundle.MANIFEST_NAME).write_text(json.dumps(text))
    assert bundle.read_manifest(tmp_path).tasks[0].accuracy is None
