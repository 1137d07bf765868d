"""engines.added: a task that is added is compared with torch's answers, which lie beside it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core import adapter as artefact
from adaptertune_deploy.core import bundle, preprocess, tensors
from adaptertune_deploy.core.errors import ParityError
from adaptertune_deploy.core.manifest import SHARED, select_graph
from adaptertune_deploy.core.reference import KnownAnswers
from adaptertune_deploy.engines import added

GOLDEN = Path(__file__).parents[1] / "device" / "golden"
SHAPES = {"birds": (4, 3), "cars": (4, 5), "trees": (4, 4), "cars-adapter": (4, 5)}


def known() -> KnownAnswers:
    """Torch's answers of the task 'trees', which the golden bundle does not hold."""
    spec = bundle.read_manifest(GOLDEN / "bundle").preprocess
    images = [preprocess.preprocess(path.read_bytes(), spec) for path in sorted((GOLDEN / "images").iterdir())]
    logits = tensors.unpack((GOLDEN / "logits.safetensors").read_bytes(), SHAPES, "golden")["trees"]
    return KnownAnswers(np.stack(images), logits)


@pytest.mark.parametrize("wrong", [0.0, 0.01])
def test_the_shared_graph_is_measured_with_the_new_task(wrong: float) -> None:
    folder, answers = GOLDEN / "bundle", known()
    manifest = bundle.read_manifest(folder)
    graph = select_graph(manifest, SHARED)
    _, adapter = artefact.read_adapter(GOLDEN / "adapters" / "trees")
    verify = added.verifier(folder, KnownAnswers(answers.images, answers.logits + np.float32(wrong)), "cpu")
    data = bundle.read_graph(folder, graph)
    if wrong:
        with pytest.raises(ParityError, match="task 'trees' differs from torch by up to 1"):
            verify(manifest, graph, data, adapter)
        return
    entry = verify(manifest, graph, data, adapter)
    assert (entry.task, entry.graph, entry.images, entry.engine) == ("trees", graph.file, 4, "onnxruntime")
    assert entry.max_abs < 1e-4


def test_an_engine_that_is_not_installed_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert added.is_engine_here()
    monkeypatch.setattr(sys, "path", [])
    for name in [name for name in sys.modules if name.split(".")[0] == "onnxruntime"]:
        monkeypatch.delitem(sys.modules, name)
    assert not added.is_engine_here()
