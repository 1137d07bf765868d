"""core.adapter.nested: a cut is exact, each width has its temperature, what can't be cut is refused with what to do."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.adapter.identity import tensor_shapes
from adaptertune_deploy.core.adapter.nested import WidthRecord, check_widths, cut, rank_of, width_name
from adaptertune_deploy.core.errors import FormatError, UsageError
from adaptertune_deploy.core.storage.tensors import Array
from tests.builders import (
    make_adapter,
    make_backbone_spec,
    make_nested,
    make_task,
    make_widths,
    write_adapter,
)

TASK = make_task(rank=8, temperature=1.8)
WIDTHS = make_widths(1, 2, 4, 8)


def branch(adapter: Adapter, block: int, x: Array, hidden: int | None = None) -> Array:
    """Return up(GELU(down(x))) in float64, with the hidden units from `hidden` on at zero."""
    get = {name.rsplit("adapter.")[-1]: value for name, value in adapter.tensors.items() if f"blocks.{block}." in name}
    inner = x.astype(np.float64) @ get["down.weight"].T + get["down.bias"]
    inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
    if hidden is not None:
        inner[:, hidden:] = 0
    return inner @ get["up.weight"].T + get["up.bias"]


@pytest.mark.parametrize("rank", [1, 4, 8])
def test_a_cut_computes_what_the_whole_computes_with_the_other_units_at_zero(rank: int) -> None:
    whole = make_adapter(TASK)
    narrow = Adapter(
        dataclasses.replace(TASK, adapter=dataclasses.replace(TASK.adapter, rank=rank)), cut(whole.tensors, rank)
    )
    assert {name: value.shape for name, value in narrow.tensors.items()} == tensor_shapes(
        narrow.task, make_backbone_spec()
    )
    x = np.random.default_rng(1).normal(size=(5, 8))
    for block in TASK.adapter.blocks:
        np.testing.assert_allclose(branch(narrow, block, x), branch(whole, block, x, rank), rtol=1e-12)
    np.testing.assert_array_equal(narrow.tensors["head.weight"], whole.tensors["head.weight"])


def test_every_width_is_a_candidate_with_its_own_temperature(tmp_path: Path) -> None:
    whole = write_adapter(tmp_path / "pets", TASK, widths=WIDTHS)
    config, read = adapters.read_adapter(tmp_path / "pets", "adapter-2")
    assert config.candidates == ("adapter", "head", "adapter-1", "adapter-2", "adapter-4")
    assert (read.task.adapter.rank, read.task.temperature, read.task.labels) == (2, 1.2, TASK.labels)
    assert read.task.adapter.blocks == TASK.adapter.blocks
    for name, value in cut(whole.tensors, 2).items():
        np.testing.assert_array_equal(read.tensors[name], value, strict=True)
    assert adapters.read_adapter(tmp_path / "pets")[1].task == TASK
    with pytest.raises(
        UsageError, match="no candidate 'adapter-3', only adapter, head, adapter-1, adapter-2, adapter-4"
    ):
        adapters.read_adapter(tmp_path / "pets", "adapter-3")


def test_a_width_that_somebody_edits_is_found(tmp_path: Path) -> None:
    write_adapter(tmp_path / "pets", TASK, widths=WIDTHS)
    path = tmp_path / "pets" / adapters.CONFIG_NAME
    path.write_text(path.read_text().replace('"temperature": 1.2', '"temperature": 2.2'))
    with pytest.raises(FormatError, match="are not those that adapter_model"):
        adapters.read_adapter(tmp_path / "pets", "adapter-2")


def test_a_folder_from_before_nesting_is_read_and_keeps_its_hash(tmp_path: Path) -> None:
    write_adapter(tmp_path / "pets", TASK)
    path = tmp_path / "pets" / adapters.CONFIG_NAME
    text = path.read_text()
    assert text.count(',\n  "widths": []') == 1
    path.write_text(text.replace(',\n  "widths": []', ""))
    config, read = adapters.read_adapter(tmp_path / "pets")
    assert (config.widths, read.task, config.candidates) == ((), TASK, ("adapter", "head"))


@pytest.mark.parametrize("ranks", [(4, 2, 8), (1, 2, 4), (0, 8), (2, 2, 8)])
def test_widths_that_cannot_be_are_refused(ranks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"widths .* must ascend from 1 or more to rank 8"):
        check_widths([WidthRecord(rank, 1.0) for rank in ranks], 8)
    check_widths([], 8)


def test_names() -> None:
    assert rank_of(width_name(16)) == 16
    assert [rank_of(name) for name in ("adapter", "head", "adapter-0", "adapter-x", "adapter-4 ")] == [None] * 5


def test_folders_are_made_nested_as_training_makes_them(tmp_path: Path) -> None:
    write_adapter(tmp_path / "one", TASK)
    write_adapter(tmp_path / "two", TASK, widths=WIDTHS)
    assert make_nested(tmp_path / "one", WIDTHS) == adapters.read_config(tmp_path / "two")
