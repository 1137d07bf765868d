"""A task that was fine-tuned as a whole: trained, exported as its own graph, answered, and refused by other bundles."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import adaptertune_deploy as atd
from adaptertune_deploy.core.adapter.folder import read_config
from adaptertune_deploy.core.adapter.reference import known_answers
from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.model.names import EMBEDDED_BACKBONE
from adaptertune_deploy.serve.sessions.session import open_session
from adaptertune_deploy.train.request.recipe import method_fields
from tests.train.runs import make_pictures


def test_a_fine_tuned_task_has_a_graph_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "cache"))
    pictures = make_pictures(tmp_path / "trees", {"train": 8, "test": 3})
    recipe = atd.Recipe(**method_fields("full"), epochs=1, folds=2, ship="full", precision="fp32", device="cpu")
    trained = atd.train_task(pictures, out=tmp_path / "full", backbone=EMBEDDED_BACKBONE, recipe=recipe)
    manifest = atd.export_bundle(trained.folder, tmp_path / "bundle", merge=True, shared=False)
    config = read_config(trained.folder)
    assert manifest.backbone.sha256 == config.tuned_sha256
    (parity,) = manifest.parity
    assert parity.max_abs < 1e-3
    (record,) = manifest.tasks
    assert record.accuracy is not None
    assert record.accuracy.right == trained.measured.shipped.scores.hits.sum()
    known = known_answers(trained.folder, config)
    assert known is not None
    session = open_session(tmp_path / "bundle", ["trees"])
    rows = np.arange(len(known.images))
    found = np.stack(session.run(known.images, rows, np.zeros_like(rows)))
    session.close()
    np.testing.assert_allclose(found, known.logits, atol=1e-3)

    frozen = dataclasses.replace(recipe, method="adapter", drop_path=0.0, ship="auto")  # rank 0
    other = atd.train_task(pictures, out=tmp_path / "head", task="other", backbone=EMBEDDED_BACKBONE, recipe=frozen)
    atd.export_bundle(other.folder, tmp_path / "shared")
    with pytest.raises(FormatError, match="task 'trees' was trained by full fine-tuning, so its backbone is its own"):
        atd.add_task(trained.folder, tmp_path / "shared")
