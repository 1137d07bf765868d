"""An adapter folder, against what safetensors' own reader says of its file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from adaptertune_deploy.core.adapter import tuned_weights
from adaptertune_deploy.core.adapter.folder import WEIGHTS_NAME
from adaptertune_deploy.inspection.adapter import inspect
from adaptertune_deploy.inspection.inspected import Size
from tests.builders import make_task, make_widths, write_adapter, write_tuned

GOLDEN = Path(__file__).parents[1] / "device" / "golden" / "adapters"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / "birds", tmp_path / "birds"))


def test_tensors_are_those_of_the_file(folder: Path) -> None:
    found = inspect(folder)
    tensors = load_file(folder / "adapter_model.safetensors")
    assert {name: tuple(entry["shape"]) for name, entry in found.facts["tensors"].items()} == {
        name: array.shape for name, array in tensors.items()
    }
    assert {array.dtype.name for array in tensors.values()} == {"float32"}
    assert found.facts["parameters"] == sum(array.size for array in tensors.values())
    sizes = {row[0]: row[2] for row in found.sheets[0].rows}
    assert sizes == {name: Size(array.nbytes) for name, array in tensors.items()}
    assert found.faults == ()


def test_facts_are_those_of_the_config(folder: Path) -> None:
    found = inspect(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    said = json.loads(json.dumps(found.facts))
    for part in ("recipe", "dataset"):  # fields that came later have defaults
        said[part] = {name: said[part][name] for name in config[part]}
    assert {name: said[name] for name in config} == config
    summary: dict[str, Any] = dict(found.summary)
    assert summary["adapters"] == "rank 2, alpha 0.5, after blocks 1, 2 of 3"
    assert summary["task"].startswith("birds, 3 labels: ")
    assert dict(inspect(GOLDEN / "cars").summary)["ships"].startswith("head (temperature ")


def test_a_changed_tensor_file_is_a_fault(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    (fault,) = inspect(folder).faults
    assert "the file was changed or damaged" in fault
    path.unlink()
    (fault,) = inspect(folder).faults
    assert fault.endswith("no such file")


def test_nested_and_fine_tuned_tasks_say_what_they_are(tmp_path: Path) -> None:
    write_adapter(tmp_path / "pets", make_task(rank=4), widths=make_widths(1, 2, 4))
    assert dict(inspect(tmp_path / "pets").summary)["adapters"].startswith("rank 4 (nested: 1, 2, 4), alpha 1")
    folder = write_tuned(tmp_path / "full")
    found, digest = inspect(folder), tuned_weights.sha256(folder / WEIGHTS_NAME)
    summary = dict(found.summary)
    assert summary["adapters"] == f"none: the whole backbone was fine-tuned, its weights are {digest[:12]}..."
    assert found.facts["bytes"] == 4 * found.facts["parameters"] + (folder / WEIGHTS_NAME).stat().st_size
    assert summary["size"] == Size(found.facts["bytes"])
    assert found.faults == ()


def test_a_changed_or_absent_backbone_of_full_fine_tuning_is_a_fault(tmp_path: Path) -> None:
    folder = write_tuned(tmp_path / "full")
    path = folder / WEIGHTS_NAME
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    (fault,) = inspect(folder).faults
    assert fault.startswith(f"{path}: holds other weights than adapter_config.json names; it was changed or damaged")
    path.unlink()
    found = inspect(folder)
    assert found.faults == (f"{path}: no such file",)
    assert found.facts["faults"] == [f"{path}: no such file"]
    assert found.facts["bytes"] == 4 * found.facts["parameters"]
