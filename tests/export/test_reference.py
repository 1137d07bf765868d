"""export.reference: torch's answers are what real graphs are measured against, and must still be those of training."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.adapter import folder as artefact
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import MERGED, SHARED, GraphRecord
from adaptertune_deploy.core.errors import ParityError
from adaptertune_deploy.core.images.preprocess import preprocess
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.verification.parity import verify_merged, verify_shared
from adaptertune_deploy.export.reference import asked_logits, check_reference
from adaptertune_deploy.model.backbone import Backbone
from tests.builders import encode, give_reference, make_image, write_adapter
from tests.export.conftest import SLOTS, WIDTH, OpenGraph, merged_of, reference


def record(form: str, task: str | None = None) -> GraphRecord:
    return bundle.record_graph(b"a graph", form, {bank.IMAGES: "float32"}, opset=20, ir_version=10, task=task)


SHARED_RECORD, MERGED_RECORD = record(SHARED), record(MERGED, "pets")


def test_only_the_rows_that_are_asked_for_are_computed(
    backbone: Backbone, held: Sequence[Adapter], images: Array, expected: list[Array]
) -> None:
    found = asked_logits(backbone, held[1], images, np.array([3, 0, 3, 31]))
    assert_allclose(found[[0, 3, 31]], expected[1][[0, 3, 31]], atol=1e-5)
    assert np.isnan(np.delete(found, [0, 3, 31], axis=0)).all()


@pytest.mark.parametrize("shift", [0.0, 0.01])
@pytest.mark.parametrize("ship", [None, "head"])
def test_torch_must_answer_as_it_did_in_training(
    tmp_path: Path, backbone: Backbone, held: Sequence[Adapter], shift: float, ship: str | None
) -> None:
    """Another timm, or other weights under the same name, would compute something else."""
    pictures = [encode(make_image(seed=seed)) for seed in range(5)]
    pixels = np.stack([preprocess(picture, backbone.preprocess) for picture in pictures])
    folder = tmp_path / "pets"
    write_adapter(folder, held[0].task, backbone.spec, backbone.preprocess)
    both = {name: artefact.read_adapter(folder, name)[1] for name in artefact.SHIPS}
    answers = {name: reference(backbone, adapter, pixels) for name, adapter in both.items()}
    answers[ship or "adapter"] = answers[ship or "adapter"] + np.float32(shift)
    give_reference(folder, pictures, answers)
    config = artefact.read_config(folder)
    config = dataclasses.replace(config, versions={"timm": "0.0.1"})
    if not shift:
        check_reference(backbone, folder, config, both[ship or "adapter"], ship)
        return
    with pytest.raises(
        ParityError, match=r"task 'pets': torch answers otherwise .*1\.0e-02, .*timm .* here, 0\.0\.1 t"
    ):
        check_reference(backbone, folder, config, both[ship or "adapter"], ship)


def test_a_folder_without_answers_has_nothing_to_compare(
    tmp_path: Path, backbone: Backbone, held: Sequence[Adapter]
) -> None:
    adapter = write_adapter(tmp_path / "pets", held[0].task, backbone.spec, backbone.preprocess)
    assert check_reference(backbone, tmp_path / "pets", artefact.read_config(tmp_path / "pets"), adapter, None) is None


def test_real_graphs_pass(
    shared_graph: bytes,
    merged_graphs: list[bytes],
    held: Sequence[Adapter],
    expected: list[Array],
    images: Array,
    open_graph: OpenGraph,
) -> None:
    reports = [*verify_shared(open_graph(shared_graph), SHARED_RECORD, held, SLOTS, WIDTH, expected, images)]
    reports += [
        verify_merged(open_graph(data), MERGED_RECORD, wanted, images)
        for data, wanted in zip(merged_graphs, expected, strict=True)
    ]
    for report in reports:
        assert report.max_abs < 1e-5
        assert report.mean_abs <= report.max_abs
        assert report.cosine > 1 - 1e-9
        assert report.agreement == 1
        assert report.provider == "CPUExecutionProvider"


def changed(adapter: Adapter, name: str, by: float) -> Adapter:
    """Return the adapter with one element of one tensor moved."""
    tensor = adapter.tensors[name].copy()
    tensor.flat[0] += np.float32(by)
    return dataclasses.replace(adapter, tensors={**adapter.tensors, name: tensor})


@pytest.mark.parametrize(
    "name", ["blocks.0.adapter.down.weight", "blocks.0.adapter.up.bias", "blocks.2.adapter.up.weight", "head.bias"]
)
def test_one_wrong_number_in_one_tensor_does_not_pass(
    shared_graph: bytes,
    held: Sequence[Adapter],
    expected: list[Array],
    images: Array,
    open_graph: OpenGraph,
    name: str,
) -> None:
    spoiled = [*held[:2], changed(held[2], name, 0.05)]
    with pytest.raises(ParityError, match="task 'digits' differs"):
        verify_shared(open_graph(shared_graph), SHARED_RECORD, spoiled, SLOTS, WIDTH, expected, images)


def test_a_merged_graph_of_other_tensors_does_not_pass(
    shared_graph: bytes,
    backbone: Backbone,
    held: Sequence[Adapter],
    expected: list[Array],
    images: Array,
    open_graph: OpenGraph,
) -> None:
    data = merged_of(shared_graph, backbone, changed(held[1], "blocks.2.adapter.up.bias", 0.01))
    with pytest.raises(ParityError, match=r"differs from torch by up to"):
        verify_merged(open_graph(data), MERGED_RECORD, expected[1], images)
