"""core.adapter: the folder adapters/<task>/, and everything a reader refuses."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core import adapter as adapters
from adaptertune_deploy.core import files
from adaptertune_deploy.core.errors import FormatError
from tests.builders import (
    make_adapter,
    make_backbone_spec,
    make_config,
    make_preprocess_spec,
    make_task,
    write_adapter,
)


def change_config(folder: Path, *path: str, to: Any) -> None:
    """Set one field of adapter_config.json, named by its path."""
    config = json.loads((folder / adapters.CONFIG_NAME).read_bytes())
    inner = config
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = to
    (folder / adapters.CONFIG_NAME).write_text(json.dumps(config))


def change_tensors(folder: Path, **tensors: np.ndarray | None) -> None:
    """Replace or (None) remove tensors and make the config vouch for the result."""
    path = folder / adapters.MODEL_NAME
    values = {**safetensors.numpy.load_file(path), **tensors}
    note = {adapters.IDENTITY_KEY: adapters.read_config(folder).identity.sha256}
    safetensors.numpy.save_file({name: value for name, value in values.items() if value is not None}, path, note)
    change_config(folder, "tensors_sha256", to=files.sha256_bytes(path.read_bytes()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_adapter(tmp_path / "pets")
    return tmp_path / "pets"


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    task = make_task("birds.v1", classes=5, rank=3, blocks=(1, 3), alpha=0.25)
    backbone = make_backbone_spec(features=16)
    written = write_adapter(tmp_path / "birds", task, backbone, seed=4)
    config, read = adapters.read_adapter(tmp_path / "birds")
    assert config == make_config(task, backbone, tensors_sha256=config.tensors_sha256)
    assert config.tensors_sha256 == files.sha256_bytes((tmp_path / "birds" / adapters.MODEL_NAME).read_bytes())
    assert read.task == task
    assert read.tensors.keys() == written.tensors.keys()
    for name, value in written.tensors.items():
        np.testing.assert_array_equal(read.tensors[name], value, strict=True)
    assert sorted(os.listdir(tmp_path / "birds")) == [adapters.CONFIG_NAME, adapters.MODEL_NAME]


def test_other_libraries_read_the_tensors_by_their_documented_names(folder: Path) -> None:
    found = safetensors.numpy.load_file(folder / "adapter_model.safetensors")
    assert len(found) == 4 * 4 + 2
    assert found["blocks.3.adapter.down.weight"].shape == (2, 8)
    assert found["blocks.3.adapter.down.bias"].shape == (2,)
    assert found["blocks.3.adapter.up.weight"].shape == (8, 2)
    assert found["blocks.3.adapter.up.bias"].shape == (8,)
    assert found["head.weight"].shape == (3, 8)
    assert found["head.bias"].shape == (3,)


@given(
    rank=st.integers(1, 6),
    width=st.integers(1, 9),
    classes=st.integers(2, 9),
    features=st.integers(1, 20),
    blocks=st.sets(st.integers(0, 11), min_size=1),
)
def test_shapes_follow_the_spec(rank: int, width: int, classes: int, features: int, blocks: set[int]) -> None:
    task = make_task(classes=classes, rank=rank, blocks=sorted(blocks))
    shapes = adapters.tensor_shapes(task, make_backbone_spec(width, depth=12, features=features))
    sizes = sum(int(np.prod(shape)) for shape in shapes.values())
    assert sizes == len(blocks) * (2 * rank * width + rank + width) + classes * (features + 1)


def test_an_absent_folder_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such adapter folder; train one with: atd train --dataset pets"):
        adapters.read_adapter(tmp_path / "pets")


@pytest.mark.parametrize("name", [adapters.CONFIG_NAME, adapters.MODEL_NAME])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(FormatError, match=f"{name}: no such file"):
        adapters.read_adapter(folder)


@pytest.mark.parametrize(
    ("path", "to", "message"),
    [
        (("format_version",), 1, "format_version is 1, this release reads 2"),
        (("task", "name"), "../pets", "task name '../pets' must be"),
        (("task", "labels"), ["cat"], "has 1 labels"),
        (("task", "adapter", "rank"), 0, "rank 0 must lie between 1 and"),
        (("task", "adapter", "rank"), 10**400, "rank 10{50,}"),
        (("task", "adapter", "alpha"), 1e39, r"alpha 1e\+39 must be a finite float32 number"),
        (("task", "adapter", "blocks"), [0, 1, 2, 4], "adapts block 4, but .* has 4 blocks"),
        (("task", "adapter", "method"), "lora", "unknown field 'method'"),
        (("backbone", "depth"), 3, "adapts block 3, but .* has 3 blocks"),
        (("preprocess", "crop_mode"), "random", "crop_mode 'random' must be one of"),
        (("preprocess", "mean"), [1e300, 0, 0], "mean .* must be finite float32 numbers"),
        (("tensors_sha256",), "0" * 64, r"expected 000000000000\.\.\.; the file was changed or damaged"),
        (("tensors_sha256",), "x", "must be 64 hexadecimal digits"),
    ],
)
def test_a_config_that_contradicts_itself_is_refused(
    folder: Path, path: tuple[str, ...], to: Any, message: str
) -> None:
    change_config(folder, *path, to=to)
    with pytest.raises(FormatError, match=message) as caught:
        adapters.read_adapter(folder)
    assert str(folder) in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("task", "name"), "dogs"),
        (("task", "labels"), ["pets 2", "pets 1", "pets 0"]),
        (("task", "labels"), ["pets 0", "pets 1", "banana"]),
        (("task", "labels"), ["pets 0", "pets 1"]),
        (("task", "adapter", "alpha"), 50.0),
        (("task", "adapter", "rank"), 4),
        (("task", "adapter", "blocks"), [0, 1]),
        (("backbone", "name"), "vit_small_patch16_224.random"),
        (("backbone", "sha256"), "c" * 64),
        (("backbone", "width"), 16),
        (("backbone", "image_size"), [64, 64]),
        (("preprocess", "mean"), [0.5, 0.5, 0.5]),
        (("preprocess", "crop_pct"), 1.0),
        (("preprocess", "size"), [64, 64]),
        (("preprocess", "interpolation"), "bilinear"),
    ],
)
def test_what_decides_an_answer_is_vouched_for(folder: Path, path: tuple[str, ...], to: Any) -> None:
    """The tensors are untouched, and so is their hash in the config."""
    change_config(folder, *path, to=to)
    with pytest.raises(FormatError, match=r"adapter_config.json: labels, alpha, .* are not those that adapter_model"):
        adapters.read_adapter(folder)


def test_what_decides_no_answer_may_be_edited(folder: Path) -> None:
    change_config(folder, "metrics", to={"test_top1": 0.5})
    change_config(folder, "dataset", "name", to="birds")
    assert adapters.read_adapter(folder)[0].dataset.name == "birds"


def test_whole_and_broken_numbers_of_one_value_have_one_identity() -> None:
    task, preprocess = make_task(), make_preprocess_spec()
    whole = dataclasses.replace(task, adapter=dataclasses.replace(task.adapter, alpha=1))
    ours = adapters.Identity(task, make_backbone_spec(), dataclasses.replace(preprocess, std=(1.0, 1.0, 1.0)))
    theirs = adapters.Identity(whole, make_backbone_spec(), dataclasses.replace(preprocess, std=(1, 1, 1)))
    assert ours.sha256 == theirs.sha256


def test_tensors_that_say_nothing_of_their_labels_are_refused(folder: Path) -> None:
    path = folder / adapters.MODEL_NAME
    path.write_bytes(safetensors.numpy.save(safetensors.numpy.load(path.read_bytes())))
    change_config(folder, "tensors_sha256", to=files.sha256_bytes(path.read_bytes()))
    with pytest.raises(FormatError, match=r"are not those that adapter_model.safetensors was trained with"):
        adapters.read_adapter(folder)


def test_a_changed_byte_is_noticed(folder: Path) -> None:
    path = folder / adapters.MODEL_NAME
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match="the file was changed or damaged"):
        adapters.read_adapter(folder)


def test_a_file_far_larger_than_the_task_is_not_even_read(folder: Path) -> None:
    with (folder / adapters.MODEL_NAME).open("r+b") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(FormatError, match="holds 1,099,511,627,776 bytes, expected at most"):
        adapters.read_adapter(folder)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"head.bias": None}, "tensor 'head.bias' is missing"),
        ({"head.scale": np.ones(3, np.float32)}, "tensor 'head.scale' is not part of this adapter"),
        ({"head.bias": np.full(3, np.nan, np.float32)}, "tensor 'head.bias' holds NaN"),
        ({"head.bias": np.ones(4, np.float32)}, r"tensor 'head.bias' has shape \[4\], expected \[3\]"),
        ({"head.bias": np.ones(3)}, "tensor 'head.bias' has dtype 'F64'"),
    ],
)
def test_tensors_that_are_not_the_tasks_are_refused_although_the_hash_agrees(
    folder: Path, tensors: dict[str, np.ndarray | None], message: str
) -> None:
    change_tensors(folder, **tensors)
    with pytest.raises(FormatError, match=message):
        adapters.read_adapter(folder)


def test_the_bytes_that_were_hashed_are_the_ones_returned(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / adapters.MODEL_NAME
    original, config = path.read_bytes(), adapters.read_config(folder)
    sha256 = files.sha256_bytes

    def replaced_meanwhile(data: bytes) -> str:
        path.write_bytes(b"another file")
        return sha256(data)

    monkeypatch.setattr(files, "sha256_bytes", replaced_meanwhile)
    assert adapters.read_folder_tensors(folder, config) == original


def test_two_writes_of_one_task_have_one_hash(tmp_path: Path) -> None:
    tensors, identity = make_adapter().tensors, make_config().identity
    turned = dict(reversed(tensors.items()))
    first, second = (
        adapters.write_tensors(tmp_path / name, values, identity) for name, values in (("a", tensors), ("b", turned))
    )
    assert first == second


def test_adapters_are_listed_by_name(tmp_path: Path) -> None:
    assert adapters.list_adapters(tmp_path / "absent") == ()
    for name in ("pets", "birds", ".pets.stage"):
        write_adapter(tmp_path / name)
    (tmp_path / "samples").mkdir()
    (tmp_path / "notes.txt").touch()
    assert adapters.list_adapters(tmp_path) == (tmp_path / "birds", tmp_path / "pets")
