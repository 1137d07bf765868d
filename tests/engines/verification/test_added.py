"""engines.verification.added: a task that is added answers on the engine as torch did, or is refused."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import folder as artefact
from adaptertune_deploy.core.adapter.reference import KnownAnswers
from adaptertune_deploy.core.answers.known_image import known_image
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import select_graph
from adaptertune_deploy.core.errors import FormatError, ParityError
from adaptertune_deploy.core.images.preprocess import normalised, preprocess
from adaptertune_deploy.core.storage import tensors
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.options import ON_CPU
from adaptertune_deploy.engines.verification import added

GOLDEN = Path(__file__).parents[2] / "device" / "golden"
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
    found = verify(MANIFEST, graph, bundle.read_graph(BUNDLE, graph), adapter)
    assert found is not None
    entry = found.parity
    assert (entry.graph, entry.task, entry.images, entry.provider) == (graph.file, task, 4, "CPUExecutionProvider")
    assert 0 <= entry.max_abs < 1e-5


@pytest.mark.parametrize("task", ["birds", "cars"])
def test_what_it_answers_about_the_known_image_comes_of_the_shared_graph(task: str) -> None:
    """The merged graph of the same task, which knows no bank, must answer the same."""
    shared, merged = select_graph(MANIFEST, "shared"), select_graph(MANIFEST, "merged", task=task)
    _, adapter = artefact.read_adapter(GOLDEN / "adapters" / task)
    verify = added.verifier(BUNDLE, known(task), ON_CPU)
    found = verify(MANIFEST, shared, bundle.read_graph(BUNDLE, shared), adapter)
    assert found is not None
    assert found.answer is not None
    assert (found.answer.task, found.answer.image) == (task, "waves-1")
    image = normalised(known_image(MANIFEST.preprocess.size), MANIFEST.preprocess)[None]
    with contextlib.closing(open_engine(bundle.read_graph(BUNDLE, merged), "merged", ON_CPU)) as engine:
        (expected,) = engine.run({"images": image})["logits"]
    np.testing.assert_allclose(found.answer.logits, expected, atol=1e-5)
    other = verify(MANIFEST, merged, bundle.read_graph(BUNDLE, merged), adapter)
    assert other is not None
    assert other.answer is None


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
