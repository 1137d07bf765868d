"""The page at /: tasks come and go while it is open."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle import publish
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.options import USUAL
from adaptertune_deploy.serve.facts.about import read_about
from adaptertune_deploy.serve.facts.told import Told
from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serving
from adaptertune_deploy.serve.sessions.opener import Opener
from adaptertune_deploy.serve.sessions.session import open_from
from adaptertune_deploy.serve.tasks.bundle_source import BundleSource
from tests.browser.conftest import GOLDEN, IMAGES, wait_ready
from tests.browser.conftest import Opener as Visits


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server that follows a copy of the golden bundle."""
    place = tmp_path / "golden" / "bundle"
    shutil.copytree(GOLDEN, place.parent)
    opener = Opener(place, bundle.read_manifest(place), USUAL)
    session = open_from(opener)
    source = BundleSource(opener, session.form, watched=True)

    def read() -> object:
        return read_about(place, session.form, Precision.FP32, place.parent / "adapters")

    with serving(make_app(session, told=Told(read(), read), source=source)) as url:
        wait_ready(url)
        yield f"{url}/", place
    session.close()


def without(place: Path, name: str) -> None:
    """Take a task out of a bundle."""
    held = bundle.read_manifest(place)
    tasks = tuple(record for record in held.tasks if record.task.name != name)
    graphs = tuple(graph for graph in held.graphs if graph.task != name)
    files = {graph.file for graph in graphs}
    parity = tuple(entry for entry in held.parity if entry.task != name and entry.graph in files)
    answers = tuple(entry for entry in held.answers if entry.task != name)
    bundle.write_manifest(place, dataclasses.replace(held, tasks=tasks, graphs=graphs, parity=parity, answers=answers))


def test_a_task_that_comes_answers_and_one_that_goes_leaves(visit: Visits, followed: tuple[str, Path]) -> None:
    url, place = followed
    found = visit(url)
    found.pick(IMAGES[0])
    assert list(found.answers()) == ["birds", "cars"]
    found.page.get_by_role("checkbox", name="cars").uncheck(force=True)
    publish.add_task(place, place.parent / "adapters" / "trees")
    found.page.get_by_role("article", name="trees").locator(".bars").wait_for()  # it is asked without a click
    assert list(found.answers()) == ["birds", "trees"]  # and what was not chosen stays so
    assert "rank" in found.page.locator("#tasks tbody tr").nth(2).inner_text()
    assert "not recorded" not in found.page.locator("#tasks tbody tr").nth(2).locator("td").nth(4).inner_text()
    without(place, "birds")
    found.page.get_by_role("article", name="birds").wait_for(state="detached")
    assert list(found.answers()) == ["trees"]
    assert found.page.locator(".chip").all_inner_texts() == ["cars", "trees"]
