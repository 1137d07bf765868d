from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from adaptertune_deploy.core.answers.stored_answer import StoredAnswer
from adaptertune_deploy.core.bundle.manifest import Manifest
from adaptertune_deploy.core.bundle.manifest_changes import Measured, with_measured, with_task, without
from tests.builders import make_adapter, make_graph, make_parity, make_task, with_parity, write_bundle


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """`pets` and `birds` with a shared graph, merged graphs, measurements and stored answers."""
    held = [make_adapter(make_task("pets")), make_adapter(make_task("birds", 5), seed=1)]
    made = write_bundle(tmp_path, held)
    merged = [make_graph(made, name.encode(), name) for name in ("pets", "birds")]
    answers = (StoredAnswer("pets", "waves-1", (0.5,) * 3), StoredAnswer("birds", "waves-1", (0.5,) * 5))
    return with_parity(dataclasses.replace(made, graphs=(*made.graphs, *merged), answers=answers))


def test_without_a_task_nothing_is_left_that_was_made_or_measured_of_it(manifest: Manifest) -> None:
    left = without(manifest, "pets")
    assert [answer.task for answer in left.answers] == ["birds"]
    assert [graph.task for graph in left.graphs] == [None, "birds"]
    assert {entry.task for entry in left.parity} == {"birds"}
    assert left.tasks == manifest.tasks


def test_a_task_that_is_there_changes_nothing_and_another_version_takes_its_place(manifest: Manifest) -> None:
    pets, birds = manifest.tasks
    assert with_task(manifest, pets) is manifest
    other = dataclasses.replace(pets, task=make_task("pets", classes=4))
    new = with_task(manifest, other)
    assert new.tasks == (other, birds)
    assert new.answers == manifest.answers[1:]


def test_what_is_measured_again_is_replaced_and_an_answer_stays_the_first(manifest: Manifest) -> None:
    graph = manifest.graphs[0].file
    parity = make_parity(graph, "pets", max_abs=3e-6)
    other = StoredAnswer("pets", "waves-1", (9.0,) * 3)
    new = with_measured(manifest, Measured(parity, other))
    assert new.answers == manifest.answers
    assert len(new.parity) == len(manifest.parity)
    assert parity in new.parity
    first = with_measured(dataclasses.replace(manifest, answers=()), Measured(parity, other))
    assert first.answers == (other,)
