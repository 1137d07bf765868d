from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.core.bundle.manifest import TaskRecord
from adaptertune_deploy.core.errors import FormatError, UsageError
from adaptertune_deploy.serve import opening
from adaptertune_deploy.serve.opening import Opening
from adaptertune_deploy.serve.sessions.opener import Opener
from tests.serve import fakes
from tests.serve.tasks.bundles import FAKE, after_a_graph, another, make_bundle, replace_task


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_bundle(tmp_path / "bundle", monkeypatch)


def whole(folder: Path) -> Opening:
    return Opening(folder, None, "auto", FAKE, True, False, folder.parent / "adapters")


def test_it_opens_what_was_asked_for_and_knows_its_facts(folder: Path) -> None:
    names = [record.task.name for record in read_manifest(folder).tasks]
    opened = replace(whole(folder), names=(names[1],), watched=True).open()
    assert [task.name for task in opened.session.tasks.values()] == [names[1]]
    assert opened.session.form == "shared"
    assert opened.source.watched
    assert set(opened.source.records(opened.source.read())) == {names[1]}
    assert set(opened.told.about.tasks) == set(names)
    opened.session.close()


@pytest.mark.parametrize("what", ["graph", "task"])
def test_what_is_damaged_is_found_without_an_engine(folder: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    manifest = read_manifest(folder)
    monkeypatch.setattr(Opener, "open", lambda *arguments: 1 / 0)
    whole(folder).check()
    graph = next(graph for graph in manifest.graphs if graph.form == "shared")
    (folder / (graph if what == "graph" else manifest.tasks[0]).file).write_bytes(b"damaged")
    with pytest.raises(FormatError, match=re.escape(folder.name)):
        whole(folder).check()
    if what == "task":
        replace(whole(folder), strict=False).check()  # which the start leaves out
        replace(whole(folder), names=(manifest.tasks[1].task.name,)).check()


def test_a_damaged_task_stops_a_strict_start_and_is_left_out_of_a_lenient_one(folder: Path) -> None:
    record = read_manifest(folder).tasks[0]
    (folder / record.file).write_bytes(b"damaged")
    with pytest.raises(FormatError):
        whole(folder).open()
    opened = replace(whole(folder), strict=False).open()
    assert set(opened.source.left_out) == {record.task.name}
    assert record.task.name not in {task.name for task in opened.session.tasks.values()}
    opened.session.close()


def test_a_task_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="nothing"):
        replace(whole(folder), names=("nothing",)).open()


def test_what_was_opened_is_closed_when_its_facts_can_not_be_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []

    def fail(*arguments: object) -> None:
        raise FormatError("gone meanwhile")

    open_from = opening.open_from

    def watched(*arguments: object) -> object:
        session = open_from(*arguments)  # type: ignore[arg-type]
        monkeypatch.setattr(session, "close", lambda: closed.append(session))
        return session

    monkeypatch.setattr(opening, "read_about", fail)
    monkeypatch.setattr(opening, "open_from", watched)
    with pytest.raises(FormatError, match="gone meanwhile"):
        whole(folder).open()
    assert len(closed) == 1


@pytest.mark.parametrize("strict", [True, False])
def test_a_task_that_is_replaced_while_it_opens_is_served_and_not_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, strict: bool
) -> None:
    after_a_graph(monkeypatch, lambda: replace_task(folder, another("digits")))
    opened = replace(whole(folder), strict=strict).open()
    assert opened.source.left_out == {}
    assert opened.source.first.manifest == read_manifest(folder)
    assert [task.name for task in opened.session.tasks.values()] == ["pets", "flowers", "digits"]
    opened.session.close()
    assert all(engine.closed for engine in fakes.OPENED)


def test_a_check_reads_the_bundle_as_it_stands_in_the_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, read = Opener.read, list[str]()

    def replaced_first(self: Opener, record: TaskRecord) -> object:
        if not read:
            replace_task(folder, another("digits"))
        read.append(record.task.name)
        return real(self, record)

    monkeypatch.setattr(Opener, "read", replaced_first)
    whole(folder).check()
    assert read == ["pets", "flowers", "digits"] * 2
