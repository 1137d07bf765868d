"""engines.added: a task that is added answers on the engine as torch did, or is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core import adapter as artefact
from adaptertune_deploy.core import bundle, tensors
from adaptertune_deploy.core.errors import FormatError, ParityError
from adaptertune_deploy.core.manifest import select_graph
from adaptertune_deploy.core.preprocess import preprocess
from adaptertune_deploy.core.reference import KnownAnswers
from adaptertune_deploy.engines import added
from adaptertune_deploy.engines.options import ON_CPU

GOLDEN = Path(__file__).parents[1] / "device" / "golden"
BUNDLE = GOLDEN / "bundle"
MANIFEST = bundle.read_manifest(BUNDLE)


def known(task: str) -> KnownAnswers:
    """Torch's answers about the golden images."""
    shapes = {"birds": (4, 3), "cars": (4, 5), "trees": (4, 4), "cars-adapter": (4, 5)}
    logits = tensors.unpack((GOLDEN / "logits.safetensors").read_bytes(), shapes, "golden")[task]
    paths = sorted((GOLDEN / "images").iterdir())
    return KnownAnswers(np.stack([preprocess(path.read_bytes(), MANIFEST.preprocess) for path in paths]), logits)


@pytest.mark.parametrize("task", ["birds", "cars"])
@pytest.mark.parametrize("form", ["shared", "merged"])
def test_both_forms_are_measured_as_they_are_served(form: str, task: str) -> None:
    graph = select_graph(MANIFEST, form, task=task if form == "merged" else None)
    _, adapter = artefact.read_adapter(GOLDEN / "adapters" / task)
    verify = added.verifier(BUNDLE, known(task), ON_CPU)
    entry = verify(MANIFEST, graph, bundle.read_graph(BUNDLE, graph), adapter)
    assert (entry.graph, entry.task, entry.images, entry.provider) == (graph.file, task, 4, "CPUExecutionProvider")
    assert 0 <= entry.max_abs < 1e-5


def test_another_tasks_tensors_are_found() -> None:
    graph = select_graph(MANIFEST, "shared")
    _, adapter = artefact.read_adapter(GOLDEN / "adapters" / "cars", "adapter")
    verify = added.verifier(BUNDLE, known("cars"), ON_CPU)
    with pytest.raises(ParityError, match="the shared fp32 graph with task 'cars' differs from torch"):
        verify(MANIFEST, graph, bundle.read_graph(BUNDLE, graph), adapter)


def test_a_graph_must_be_what_its_record_says() -> None:
    """The bytes of one task's merged graph under the record of another one's."""
    birds, cars = (select_graph(MANIFEST, "merged", task=task) for task in ("birds", "cars"))
    _, adapter = artefact.read_adapter(GOLDEN / "adapters" / "birds")
    verify = added.verifier(BUNDLE, known("birds"), ON_CPU)
    with pytest.raises(FormatError, match="says it answers task 'cars', the manifest says 'birds'"):
        verify(MANIFEST, birds, bundle.read_graph(BUNDLE, cars), adapter)
