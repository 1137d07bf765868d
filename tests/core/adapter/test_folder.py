"""core.adapter.folder: the folder adapters/<task>/, and everything a reader refuses."""

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

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.adapter import tensor_file
from adaptertune_deploy.core.adapter.identity import Identity, tensor_shapes
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.errors import FormatError, UsageError
from adaptertune_deploy.core.spec import HEAD_ONLY
from adaptertune_deploy.core.storage import files
from tests.builders import (
    make_backbone_spec,
    make_candidates,
    make_config,
    make_preprocess_spec,
    make_task,
    make_tensors,
    write_adapter,
)
from tests.core.changed import change


def change_config(folder: Path, *path: str, to: Any) -> None:
    """Set one field of adapter_config.json, named by its path."""
    change(folder / adapters.CONFIG_NAME, *path, to=to)


def change_tensors(folder: Path, **tensors: np.ndarray | None) -> None:
    """Replace or (None) remove tensors and make the config vouch for the result."""
    path = folder / adapters.MODEL_NAME
    values = {**safetensors.numpy.load_file(path), **tensors}
    note = {tensor_file.IDENTITY_KEY: adapters.read_config(folder).identity.sha256}
    safetensors.numpy.save_file({name: value for name, value in values.items() if value is not None}, path, note)
    change_config(folder, "tensors_sha256", to=files.sha256_bytes(path.read_bytes()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_adapter(tmp_path / "pets")
    return tmp_path / "pets"


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    task = make_task("birds.v1", classes=5, rank=3, blocks=(1, 3), alpha=0.25, temperature=1.5)
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
    assert len(found) == 4 * 4 + 2 + 2
    assert found["blocks.3.adapter.down.weight"].shape == (2, 8)
    assert found["blocks.3.adapter.down.bias"].shape == (2,)
    assert found["blocks.3.adapter.up.weight"].shape == (8, 2)
    assert found["blocks.3.adapter.up.bias"].shape == (8,)
    assert found["head.weight"].shape == found["probe.weight"].shape == (3, 8)
    assert found["head.bias"].shape == found["probe.bias"].shape == (3,)


# Two candidates


@pytest.mark.parametrize("ships", adapters.SHIPS)
@pytest.mark.parametrize("ship", [None, *adapters.SHIPS])
def test_what_ships_is_what_the_config_says_unless_it_is_overruled(
    tmp_path: Path, ships: str, ship: str | None
) -> None:
    task = make_task(temperature=2.0)
    write_adapter(tmp_path / "pets", task, ships=ships, probe_temperature=0.75)
    held = safetensors.numpy.load_file(tmp_path / "pets" / adapters.MODEL_NAME)
    config, read = adapters.read_adapter(tmp_path / "pets", ship)
    assert (config.task, config.ships) == (task, ships)
    if (ship or ships) == "adapter":
        assert read.task == task
        assert read.tensors.keys() == held.keys() - {"probe.weight", "probe.bias"}
        assert all(np.array_equal(value, held[name]) for name, value in read.tensors.items())
    else:
        assert read.task == dataclasses.replace(task, adapter=HEAD_ONLY, temperature=0.75)
        assert read.tensors.keys() == {"head.weight", "head.bias"}
        assert np.array_equal(read.tensors["head.weight"], held["probe.weight"])
        assert np.array_equal(read.tensors["head.bias"], held["probe.bias"])


def test_a_task_of_rank_0_holds_its_probe_only(tmp_path: Path) -> None:
    write_adapter(tmp_path / "pets", make_task(rank=0), probe_temperature=1.25)
    assert safetensors.numpy.load_file(tmp_path / "pets" / adapters.MODEL_NAME).keys() == {"probe.weight", "probe.bias"}
    config, read = adapters.read_adapter(tmp_path / "pets")
    assert (config.recipe, config.ships) == (None, "head")
    assert read.task == make_task(rank=0, temperature=1.25)
    assert read.tensors["head.weight"].shape == (3, 8)


def test_the_adapter_of_a_task_of_rank_0_can_not_ship(tmp_path: Path) -> None:
    write_adapter(tmp_path / "pets", make_task(rank=0))
    with pytest.raises(UsageError, match="task 'pets' was trained with rank 0 and has no adapter to ship; leave out"):
        adapters.read_adapter(tmp_path / "pets", "adapter")


def test_an_unknown_candidate_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"no candidate 'heda', only adapter, head. Did you mean 'head'\?"):
        adapters.read_adapter(folder, "heda")


@pytest.mark.parametrize("version", [1, 2])
def test_a_folder_of_an_older_version_says_train_again(folder: Path, version: int) -> None:
    """As the releases before wrote it: other fields, no probe."""
    config = json.loads((folder / adapters.CONFIG_NAME).read_bytes())
    del config["probe"], config["ships"], config["recipe"], config["task"]["temperature"]
    (folder / adapters.CONFIG_NAME).write_text(json.dumps({**config, "format_version": version}))
    with pytest.raises(FormatError) as caught:
        adapters.read_adapter(folder)
    assert str(caught.value) == (
        f"{folder / adapters.CONFIG_NAME}: format_version is {version}, this release reads 3; a folder of an older "
        "version can't be read, train the task again with: atd train"
    )


@given(
    rank=st.integers(0, 6),
    width=st.integers(1, 9),
    classes=st.integers(2, 9),
    features=st.integers(1, 20),
    blocks=st.sets(st.integers(0, 11), min_size=1),
)
def test_shapes_follow_the_spec(rank: int, width: int, classes: int, features: int, blocks: set[int]) -> None:
    task = make_task(classes=classes, rank=rank, blocks=sorted(blocks))
    shapes = tensor_shapes(task, make_backbone_spec(width, depth=12, features=features))
    sizes = sum(int(np.prod(shape)) for shape in shapes.values())
    blocks_held = len(blocks) if rank else 0
    assert sizes == blocks_held * (2 * rank * width + rank + width) + classes * (features + 1)


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
        (("format_version",), 4, "format_version is 4, this release reads 3; use a matching release"),
        (("task", "name"), "../pets", "task name '../pets' must be"),
        (("task", "labels"), ["cat"], "has 1 labels"),
        (("task", "adapter", "rank"), 0, "rank 0 adapts no block, but blocks names"),
        (("task", "adapter", "blocks"), [], "blocks must name at least one block at rank 2"),
        (("task", "temperature"), 0, "temperature 0.0 must be a float32 number from 1e-06"),
        (("probe", "temperature"), -1, "temperature -1.0 must be a float32 number from 1e-06"),
        (("probe",), None, "probe: found None, expected an object"),
        (("ships",), "probe", "ships 'probe' must be one of adapter, head"),
        (("recipe",), None, "recipe is missing, though rank 2 was trained"),
        (("recipe", "steps"), 1.5, "steps: found 1.5, expected a whole number"),
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
        (("task", "temperature"), 2.0),
        (("probe", "temperature"), 2.0),
        (("probe",), {"penalty": 0.2, "temperature": 1.0}),
        (("ships",), "head"),
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


def test_the_temperatures_of_the_candidates_can_not_change_places(tmp_path: Path) -> None:
    write_adapter(tmp_path / "pets", make_task(temperature=2.0), probe_temperature=0.5)
    change_config(tmp_path / "pets", "task", "temperature", to=0.5)
    change_config(tmp_path / "pets", "probe", "temperature", to=2.0)
    with pytest.raises(FormatError, match=r"temperature, what ships, .* are not those that adapter_model"):
        adapters.read_adapter(tmp_path / "pets")


def test_a_task_of_rank_0_can_not_say_that_its_adapter_ships(tmp_path: Path) -> None:
    write_adapter(tmp_path / "pets", make_task(rank=0))
    change_config(tmp_path / "pets", "ships", to="adapter")
    with pytest.raises(FormatError, match="ships 'adapter', but rank 0 was trained, which has none"):
        adapters.read_adapter(tmp_path / "pets")


def test_candidates_that_changed_places_in_the_tensor_file_are_found(folder: Path) -> None:
    """Only their shapes are alike: the hash of the file is another one."""
    path = folder / adapters.MODEL_NAME
    held = safetensors.numpy.load_file(path)
    turned = {**held, "head.weight": held["probe.weight"], "probe.weight": held["head.weight"]}
    path.write_bytes(adapters.pack(turned, adapters.read_config(folder).identity))
    with pytest.raises(FormatError, match="the file was changed or damaged"):
        adapters.read_adapter(folder)


def test_what_decides_no_answer_may_be_edited(folder: Path) -> None:
    change_config(folder, "metrics", to={"test_top1": 0.5})
    change_config(folder, "dataset", "name", to="birds")
    change_config(folder, "recipe", "seconds", to=1.0)
    assert adapters.read_adapter(folder)[0].dataset.name == "birds"


def test_a_bundle_from_before_the_temperature_is_still_vouched_for() -> None:
    """The hash that the first release wrote for this task."""
    identity = Identity(make_task(), make_backbone_spec(), make_preprocess_spec())
    assert identity.sha256 == "d3809f6e6ab64fc86648ae0178995b869d52391148c880bbe6ea474fbfdb0a4f"
    warm = dataclasses.replace(identity, task=make_task(temperature=2.0))
    assert warm.sha256 != identity.sha256


def test_whole_and_broken_numbers_of_one_value_have_one_identity() -> None:
    task, preprocess = make_task(), make_preprocess_spec()
    whole = dataclasses.replace(task, adapter=dataclasses.replace(task.adapter, alpha=1))
    ours = Identity(task, make_backbone_spec(), dataclasses.replace(preprocess, std=(1.0, 1.0, 1.0)))
    theirs = Identity(whole, make_backbone_spec(), dataclasses.replace(preprocess, std=(1, 1, 1)))
    assert ours.sha256 == theirs.sha256


def test_tensors_that_say_nothing_of_their_labels_are_refused(folder: Path) -> None:
    path = folder / adapters.MODEL_NAME
    path.write_bytes(safetensors.numpy.save(safetensors.numpy.load(path.read_bytes())))
    change_config(folder, "tensors_sha256", to=files.sha256_bytes(path.read_bytes()))
    with pytest.raises(FormatError, match=r"are not those that adapter_model.safetensors was trained with"):
        adapters.read_adapter(folder)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"head.bias": None}, "tensor 'head.bias' is missing"),
        ({"probe.bias": None}, "tensor 'probe.bias' is missing"),
        ({"probe.weight": np.full((3, 8), np.inf, np.float32)}, "tensor 'probe.weight' holds NaN or infinite"),
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


def test_two_writes_of_one_task_have_one_hash(tmp_path: Path) -> None:
    identity = make_config().identity
    tensors = make_candidates(identity)
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


# Full fine-tuning


def write_tuned(folder: Path, ships: str = "full") -> None:
    config = dataclasses.replace(make_config(make_task(rank=0, temperature=1.5)), tuned_sha256="e" * 64, ships=ships)
    digest = adapters.write_tensors(folder, make_tensors(config.identity.shapes), config.identity)
    adapters.write_config(folder, dataclasses.replace(config, tensors_sha256=digest))


def test_full_fine_tuning_ships_a_head_on_a_backbone_of_its_own(tmp_path: Path) -> None:
    write_tuned(tmp_path / "pets")
    held = safetensors.numpy.load_file(tmp_path / "pets" / adapters.MODEL_NAME)
    assert held.keys() == {"head.weight", "head.bias", "probe.weight", "probe.bias"}
    config, read = adapters.read_adapter(tmp_path / "pets")
    assert (config.candidates, config.backbone.sha256) == (("full", "head"), "e" * 64)
    assert (read.task.adapter, read.task.temperature) == (HEAD_ONLY, 1.5)
    np.testing.assert_array_equal(read.tensors["head.weight"], held["head.weight"])
    assert adapters.weights_of(tmp_path / "pets", config) == tmp_path / "pets" / "backbone.safetensors"
    config, read = adapters.read_adapter(tmp_path / "pets", "head")
    assert config.backbone == make_backbone_spec()
    np.testing.assert_array_equal(read.tensors["head.weight"], held["probe.weight"])
    assert adapters.weights_of(tmp_path / "pets", config) is None
    with pytest.raises(UsageError, match="was trained with rank 0 and has no adapter to ship"):
        adapters.read_adapter(tmp_path / "pets", "adapter")


def test_nothing_else_ships_a_backbone(folder: Path) -> None:
    with pytest.raises(UsageError, match="no candidate 'full', only adapter, head"):
        adapters.read_adapter(folder, "full")
    with pytest.raises(ValueError, match="rank 2 and a fine-tuned backbone exclude each other"):
        dataclasses.replace(make_config(), tuned_sha256="e" * 64)


def test_a_tuned_task_shares_no_bundle(tmp_path: Path) -> None:
    write_tuned(tmp_path / "pets")
    config, _ = adapters.read_adapter(tmp_path / "pets")
    spec = make_backbone_spec()
    with pytest.raises(FormatError, match="task 'pets' was trained by full fine-tuning, so its backbone is its own"):
        bundle.check_same_model(config, spec, config.preprocess, "bundle")
    bundle.check_same_model(config, config.backbone, config.preprocess, "bundle")
    head, _ = adapters.read_adapter(tmp_path / "pets", "head")
    bundle.check_same_model(head, spec, config.preprocess, "bundle")
