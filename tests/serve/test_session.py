from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core import bundle, files
from adaptertune_deploy.core.bundle import GraphRecord
from adaptertune_deploy.core.errors import EngineError, FormatError, UsageError
from adaptertune_deploy.engines import engine as engines
from adaptertune_deploy.serve.session import check_finite, open_session, warm_up
from tests.builders import make_task, write_bundle
from tests.serve import fakes
from tests.serve.fakes import FakeEngine, indices, make_adapters, make_merged, make_shared, random_images, reference


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle with both forms, whose graphs the fake engine opens."""
    monkeypatch.setitem(engines.ENGINES, "fake", "tests.serve.fakes:open_fake")
    fakes.OPENED.clear()
    manifest = write_bundle(tmp_path, make_adapters(), graph=b"shared")
    records = []
    for record in manifest.tasks:
        graph = record.task.name.encode()
        path = bundle.merged_file(record.task.name)
        files.write_bytes(tmp_path / path, graph)
        records.append(dataclasses.replace(record, merged=GraphRecord(path, files.sha256_bytes(graph), "fp32", 20, 10)))
    bundle.write_manifest(tmp_path, dataclasses.replace(manifest, tasks=tuple(records)))
    return tmp_path


def rewrite(folder: Path, **changes: object) -> None:
    bundle.write_manifest(folder, dataclasses.replace(bundle.read_manifest(folder), **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(("form", "expected"), [("auto", "shared"), ("shared", "shared"), ("merged", "merged")])
def test_every_form_gives_the_reference_answers(folder: Path, form: str, expected: str) -> None:
    session = open_session(folder, ["flowers", "pets"], form, engine="fake")
    assert session.form == expected
    assert [task.name for task in session.tasks] == ["flowers", "pets"]
    images = random_images(1)
    rows = session.run(images, indices(0, 0), indices(0, 1))
    pets, flowers, _ = make_adapters()
    np.testing.assert_allclose(rows[0], reference(images[0], flowers), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(rows[1], reference(images[0], pets), rtol=1e-4, atol=1e-5)
    session.close()
    assert all(engine.closed for engine in fakes.OPENED)


def test_auto_takes_the_merged_form_where_there_is_no_shared_one(folder: Path) -> None:
    rewrite(folder, shared=None)
    assert open_session(folder, engine="fake").form == "merged"
    with pytest.raises(UsageError, match="holds no shared graph; make one with atd export"):
        open_session(folder, form="shared", engine="fake")


def test_a_missing_merged_graph_is_named_and_opened_engines_are_closed(folder: Path) -> None:
    records = bundle.read_manifest(folder).tasks
    rewrite(folder, tasks=(*records[:2], dataclasses.replace(records[2], merged=None)))
    with pytest.raises(UsageError, match="no merged graph of task 'digits'; make one with atd export --merge"):
        open_session(folder, form="merged", engine="fake")
    assert len(fakes.OPENED) == 2
    assert all(engine.closed for engine in fakes.OPENED)


def test_what_does_not_exist_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="no form 'both', only auto, shared, merged"):
        open_session(folder, form="both")
    with pytest.raises(UsageError, match=r"no task 'pet', only .* Did you mean 'pets'"):
        open_session(folder, ["pet"], engine="fake")
    with pytest.raises(UsageError, match="holds no task to serve"):
        open_session(folder, [], engine="fake")


def test_a_graph_that_differs_from_its_hash_is_never_opened(folder: Path) -> None:
    (folder / bundle.BACKBONE_NAME).write_bytes(b"broken")
    with pytest.raises(FormatError, match="the manifest says"):
        open_session(folder, engine="fake")
    assert fakes.OPENED == []


def test_an_engine_is_closed_when_the_bank_does_not_fit(folder: Path) -> None:
    rewrite(folder, slots=(0, 1))
    with pytest.raises(FormatError, match="adapts block 2"):
        open_session(folder, engine="fake")
    assert [engine.closed for engine in fakes.OPENED] == [True]


def test_warm_up_runs_one_and_the_largest_batch_of_mixed_tasks() -> None:
    engine = FakeEngine()
    warm_up(make_shared(engine), 5)
    assert [len(call["task"]) for call in engine.calls] == [1, 5]
    assert engine.calls[1]["task"].tolist() == [0, 1, 2, 0, 1]
    assert engine.calls[1]["images"].shape == (5, 3, 32, 32)


def test_warm_up_runs_every_merged_engine() -> None:
    session, opened = make_merged()
    warm_up(session, 2)
    assert all(engine.calls for engine in opened)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_withheld(value: float) -> None:
    check_finite(make_task("pets"), np.zeros(3, dtype=np.float32))
    with pytest.raises(EngineError, match="task 'pets' gave logits that are NaN or infinite"):
        check_finite(make_task("pets"), np.array([0, value, 0], dtype=np.float32))
