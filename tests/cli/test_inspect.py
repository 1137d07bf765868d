from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Atd
from tests.cli.started import imported_by


def test_a_bundle(atd: Atd) -> None:
    done = atd("inspect", "bundle")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "bundle: bundle"
    assert lines[1].split(maxsplit=1) == ["backbone", lines[1].split(maxsplit=1)[1]]
    assert "vit_golden_patch8_32.random, 3 blocks of width 32" in lines[1]
    assert sum("as the manifest says" in line for line in lines) == 5


def test_json_is_one_document(atd: Atd) -> None:
    document = json.loads(atd("inspect", "adapters/birds", "--json").out)
    assert (document["path"], document["kind"], document["faults"]) == ("adapters/birds", "adapter", [])
    assert document["task"]["labels"] == ["birds 0", "birds 1", "birds 2"]


def test_a_fault_is_an_exit_code(atd: Atd) -> None:
    next(Path("bundle/adapters").glob("cars-*")).unlink()
    done = atd("inspect", "bundle")
    assert done.code == 1
    assert done.err.startswith("error: bundle/adapters/cars-")
    assert done.err.count("\n") == 1
    assert "damaged or absent" in done.out
    document = json.loads(atd("inspect", "bundle", "--json").out)
    assert len(document["faults"]) == 1


def test_what_can_not_be_inspected(atd: Atd) -> None:
    done = atd("inspect", "images")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: images: is none of what can be inspected: an adapter folder")


@pytest.mark.parametrize("path", ["bundle", "adapters/birds"])
def test_nothing_of_the_training_side_is_imported(atd: Atd, path: str) -> None:
    assert not imported_by("inspect", path) & {"torch", "timm", "onnx", "onnxruntime", "sklearn"}
