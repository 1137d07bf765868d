"""core.adapter.identity: what decides an answer is hashed, and names every tensor."""

from __future__ import annotations

import dataclasses

import pytest

from adaptertune_deploy.core.adapter.identity import FolderIdentity, Identity, ProbeRecord, tensor_name, tensor_shapes
from adaptertune_deploy.core.adapter.nested import WidthRecord
from tests.builders import make_backbone_spec, make_config, make_preprocess_spec, make_task, make_widths

TASK = make_task(classes=3, rank=2, blocks=(1,))
BACKBONE = make_backbone_spec(features=16)


def test_shapes_are_torchs() -> None:
    assert tensor_name(3, "up", "bias") == "blocks.3.adapter.up.bias"
    assert tensor_shapes(TASK, BACKBONE) == {
        "blocks.1.adapter.down.weight": (2, 8),
        "blocks.1.adapter.down.bias": (2,),
        "blocks.1.adapter.up.weight": (8, 2),
        "blocks.1.adapter.up.bias": (8,),
        "head.weight": (3, 16),
        "head.bias": (3,),
    }
    assert set(tensor_shapes(make_task(rank=0), BACKBONE)) == {"head.weight", "head.bias"}


def test_a_folder_holds_the_probe_too() -> None:
    folder = make_config(TASK, BACKBONE).identity
    own = Identity(TASK, BACKBONE, make_preprocess_spec())
    probe = {"probe.weight": (3, 16), "probe.bias": (3,)}
    assert (own.shapes, folder.shapes) == (tensor_shapes(TASK, BACKBONE), own.shapes | probe)
    assert make_config(make_task(rank=0), BACKBONE).identity.shapes == probe


@pytest.mark.parametrize(
    "changes",
    [{"ships": "head"}, {"probe": ProbeRecord(0.1, 2.0)}, {"widths": (WidthRecord(1, 1.0), WidthRecord(2, 1.0))}],
)
def test_the_hash_is_of_all_that_decides(changes: dict[str, object]) -> None:
    identity = make_config(TASK, BACKBONE).identity
    assert dataclasses.replace(identity, **changes).sha256 != identity.sha256


def test_what_widths_were_found_to_be_worth_decides_nothing() -> None:
    nested = dataclasses.replace(make_config(TASK, BACKBONE).identity, widths=make_widths(1, 2))
    bare = dataclasses.replace(nested, widths=tuple(WidthRecord(one.rank, one.temperature) for one in nested.widths))
    other = dataclasses.replace(nested, widths=make_widths(1, 2, images=99))
    assert nested.sha256 == bare.sha256 == other.sha256
    assert isinstance(nested, FolderIdentity)
