from __future__ import annotations

import dataclasses
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core.answers.known_image import known_image, stored_answer
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import GraphRecord, select_graph
from adaptertune_deploy.core.bundle.publish import remove_task
from adaptertune_deploy.core.errors import AtdError, EngineError, FormatError, UsageError
from adaptertune_deploy.core.images.preprocess import normalised
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.storage.held_file import HeldFile
from adaptertune_deploy.engines import table
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.serve.sessions.opener import ATTEMPTS, Opener
from adaptertune_deploy.serve.sessions.session import open_from, open_session
from adaptertune_deploy.serve.sessions.warming import warm_up
from tests.builders import make_preprocess_spec, write_bundle, write_merged
from tests.serve import fakes
from tests.serve.fakes import (
    FakeEngine,
    FakeSettings,
    indices,
    make_adapters,
    random_images,
    reference,
    stand_in,
)
from tests.serve.tasks.bundles import after_a_graph, another, put, replace_task, spoiled

FAKE = EngineOptions("fake")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle with both forms, whose graphs the fake engine opens."""
    monkeypatch.setitem(table.ENGINES, "fake", fakes.ENTRY)
    fakes.OPENED.clear()
    manifest = write_bundle(tmp_path, make_adapters(), graph=stand_in("shared"))
    write_merged(tmp_path, manifest, {record.task.name: stand_in(record.task.name) for record in manifest.tasks})
    return tmp_path


def rewrite(folder: Path, **changes: object) -> None:
    bundle.write_manifest(folder, dataclasses.replace(bundle.read_manifest(folder), **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(("form", "expected"), [("auto", "shared"), ("shared", "shared"), ("merged", "merged")])
def test_every_form_gives_the_reference_answers(folder: Path, form: str, expected: str) -> None:
    session = open_session(folder, ["flowers", "pets"], form, options=FAKE)
    assert session.form == expected
    assert [task.name for task in session.tasks.values()] == ["flowers", "pets"]
    images = random_images(1)
    rows = session.run(images, indices(0, 0), indices(0, 1))
    pets, flowers, _ = make_adapters()
    np.testing.assert_allclose(rows[0], reference(images[0], flowers), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(rows[1], reference(images[0], pets), rtol=1e-4, atol=1e-5)
    session.close()
    assert all(engine.closed for engine in fakes.OPENED)


def test_auto_takes_the_merged_form_where_there_is_no_shared_one(folder: Path) -> None:
    rewrite(folder, graphs=bundle.read_manifest(folder).graphs[1:])
    assert open_session(folder, options=FAKE).form == "merged"
    with pytest.raises(UsageError, match="no shared fp32 graph, only merged fp32 of pets, flowers, digits; make one"):
        open_session(folder, form="shared", options=FAKE)


@pytest.mark.parametrize("form", ["auto", "shared", "merged"])
def test_another_precision_is_never_taken_instead(folder: Path, form: str) -> None:
    with pytest.raises(UsageError, match=r"no (shared|merged) fp16 graph.*, only .*shared fp32"):
        open_session(folder, form=form, options=EngineOptions("fake", precision=Precision.FP16))
    assert fakes.OPENED == []


def test_a_missing_merged_graph_is_named_before_any_is_opened(folder: Path) -> None:
    rewrite(folder, graphs=bundle.read_manifest(folder).graphs[:-1])
    with pytest.raises(UsageError, match=r"no merged fp32 graph of task 'digits', only .*: atd add ADAPTER --merge"):
        open_session(folder, form="merged", options=FAKE)
    assert fakes.OPENED == []


def test_what_does_not_exist_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"no form 'mergd', only auto, shared, merged\. Did you mean 'merged'"):
        open_session(folder, form="mergd")
    with pytest.raises(UsageError, match=r"no task 'pet', only .* Did you mean 'pets'"):
        open_session(folder, ["pet"], options=FAKE)
    with pytest.raises(UsageError, match="no task was named; name one or more of pets, flowers, digits"):
        open_session(folder, [], options=FAKE)
    rewrite(folder, tasks=(), graphs=bundle.read_manifest(folder).graphs[:1])
    with pytest.raises(UsageError, match="holds no task to serve; export one with: atd export"):
        open_session(folder, options=FAKE)


def test_a_precision_that_the_bundle_lacks_is_asked_for_in_the_shared_form(folder: Path) -> None:
    with pytest.raises(UsageError, match="holds no shared bf16 graph, only shared fp32 and merged fp32 of pets, "):
        open_session(folder, options=EngineOptions("fake", precision=Precision.BF16))


def test_a_graph_that_differs_from_its_hash_is_never_opened(folder: Path) -> None:
    shared = select_graph(bundle.read_manifest(folder), "shared")
    (folder / shared.file).write_bytes(stand_in("pets"))
    with pytest.raises(FormatError, match="the manifest says"):
        open_session(folder, options=FAKE)
    assert fakes.OPENED == []


@pytest.mark.case("E9", "a graph replaced after it was hashed", "the hashed bytes run")
@pytest.mark.parametrize("form", ["shared", "merged"])
def test_a_file_that_is_replaced_after_it_was_hashed_changes_nothing(
    folder: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever replaces the graphs between the reading and the opening comes too late."""
    opened: list[bytes] = []
    real = fakes.open_graph

    def open_graph(graph: bytes, where: str, options: EngineOptions, settings: FakeSettings) -> FakeEngine:
        opened.append(graph)
        return real(graph, where, options, settings)

    def read_graph(at: Path, record: GraphRecord, held: HeldFile | None = None) -> bytes:
        data = whole(at, record, held)
        (at / record.file).write_bytes(stand_in("another"))
        return data

    whole = bundle.read_graph
    monkeypatch.setattr(bundle, "read_graph", read_graph)
    monkeypatch.setattr(fakes, "open_graph", open_graph)
    open_session(folder, form=form, options=FAKE).close()
    expected = ["shared"] if form == "shared" else ["pets", "flowers", "digits"]
    assert opened == [stand_in(name) for name in expected]


def test_an_engine_is_closed_when_its_graph_is_another_than_the_manifest_says(folder: Path) -> None:
    rewrite(folder, slots=(0, 1))
    with pytest.raises(
        FormatError, match=r"backbone-fp32-\w+\.onnx: says slots is \(0, 1, 2, 3\), the manifest says \(0, 1\)"
    ):
        open_session(folder, options=FAKE)
    assert [engine.closed for engine in fakes.OPENED] == [True]


def test_all_engines_are_closed_when_one_graph_is_another_than_the_manifest_says(folder: Path) -> None:
    manifest = bundle.read_manifest(folder)
    write_merged(folder, manifest, {"flowers": stand_in("digits")})
    with pytest.raises(FormatError, match="says it answers task 'digits', the manifest says 'flowers'"):
        open_session(folder, form="merged", options=FAKE)
    assert [engine.closed for engine in fakes.OPENED] == [True, True]


def test_an_engine_is_closed_when_it_does_not_take_the_bank(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def allocate(self: FakeEngine, shapes: object, capacity: int) -> None:
        raise EngineError("the tensors don't fit on the device")

    monkeypatch.setattr(FakeEngine, "allocate", allocate)
    with pytest.raises(EngineError, match="don't fit"):
        open_session(folder, options=FAKE)
    assert [engine.closed for engine in fakes.OPENED] == [True]


@pytest.mark.case("E7", "labels, preprocessing or backbone edited in the manifest", "refused, the difference named")
@pytest.mark.parametrize("form", ["shared", "merged"])
def test_what_an_answer_rests_on_is_compared_with_the_graph(folder: Path, form: str) -> None:
    """Labels of the shared form lie beside its tensors, not in the graph; bundle.read_task compares those."""
    manifest = bundle.read_manifest(folder)
    rewrite(folder, preprocess=dataclasses.replace(manifest.preprocess, mean=(0.0, 0.0, 0.0)))
    with pytest.raises(FormatError, match=r"manifest\.json: |says preprocess\.mean is"):
        open_session(folder, form=form, options=FAKE)
    pets = manifest.tasks[0]
    labels = (*pets.task.labels[:-1], "banana")
    edited = dataclasses.replace(pets, task=dataclasses.replace(pets.task, labels=labels))
    rewrite(folder, preprocess=make_preprocess_spec(), tasks=(edited, *manifest.tasks[1:]))
    with pytest.raises(FormatError, match=r"manifest\.json: labels, .* of task 'pets'|says label 2 is 'pets 2'"):
        open_session(folder, form=form, options=FAKE)
    assert all(engine.closed for engine in fakes.OPENED)


@pytest.mark.case(
    "B1", "a lenient start with tasks that are damaged or give NaN", "they are left out, the others serve"
)
@pytest.mark.parametrize("form", ["shared", "merged"])
def test_a_lenient_start_leaves_out_what_is_damaged_or_gives_nan(folder: Path, form: str) -> None:
    manifest = bundle.read_manifest(folder)
    for file in (manifest.tasks[1].file, next(graph.file for graph in manifest.graphs if graph.task == "flowers")):
        (folder / file).write_bytes(b"damaged")
    put(folder, spoiled("digits")) if form == "shared" else None
    opener, left_out = Opener(folder, bundle.read_manifest(folder), FAKE), dict[str, AtdError]()
    session = open_from(opener, None, form, left_out)
    assert [task.name for task in session.tasks.values()] == (["pets"] if form == "shared" else ["pets", "digits"])
    assert list(left_out) == (["flowers", "digits"] if form == "shared" else ["flowers"])
    assert manifest.tasks[1].task.name in str(left_out["flowers"])
    assert form == "merged" or "'digits' gave logits that are NaN" in str(left_out["digits"])
    with pytest.raises(FormatError):
        open_from(opener, None, form)
    session.close()


@pytest.mark.case(
    "B1", "a lenient start with a task that answers otherwise than its bundle says", "it is left out, the others serve"
)
@pytest.mark.parametrize("form", ["shared", "merged"])
def test_a_lenient_start_leaves_out_what_answers_otherwise(folder: Path, form: str) -> None:
    manifest, spec = bundle.read_manifest(folder), make_preprocess_spec()
    image = normalised(known_image(spec.size), spec)
    logits = {adapter.task.name: reference(image, adapter).astype(np.float32) for adapter in make_adapters()}
    logits["flowers"] += 1
    answers = tuple(stored_answer(name, values) for name, values in logits.items())
    opener, left_out = Opener(folder, replace(manifest, answers=answers), FAKE), dict[str, AtdError]()
    session = open_from(opener, None, form, left_out)
    assert [task.name for task in session.tasks.values()] == ["pets", "digits"]
    assert list(left_out) == ["flowers"]
    assert "task 'flowers' answers otherwise than its bundle says" in str(left_out["flowers"])
    session.close()
    strict = open_from(opener, None, form)
    with pytest.raises(EngineError, match="task 'flowers' answers otherwise"):
        warm_up(strict, 2)
    strict.close()


def test_a_lenient_start_needs_one_task(folder: Path) -> None:
    for record in bundle.read_manifest(folder).tasks:
        (folder / record.file).unlink()
    with pytest.raises(FormatError, match="no such file"):
        open_from(Opener(folder, bundle.read_manifest(folder), FAKE), left_out={})
    assert all(engine.closed for engine in fakes.OPENED)


@pytest.mark.case("B5", "a task is replaced while a bundle is opened", "the new one answers")
def test_a_task_that_is_replaced_while_the_bundle_is_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = another("digits")
    opened = after_a_graph(monkeypatch, lambda: replace_task(folder, new))
    session = open_session(folder, options=FAKE)
    assert opened == [folder] * 2
    assert [task.name for task in session.tasks.values()] == ["pets", "flowers", "digits"]
    images = random_images(1)
    (row,) = session.run(images, indices(0), indices(2))
    np.testing.assert_allclose(row, reference(images[0], new), rtol=1e-4, atol=1e-5)
    assert [engine.closed for engine in fakes.OPENED] == [True, False]
    session.close()


@pytest.mark.parametrize("form", ["shared", "merged"])
def test_a_task_that_is_removed_while_the_bundle_is_opened(
    folder: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    after_a_graph(monkeypatch, lambda: remove_task(folder, "digits"))
    session = open_session(folder, form=form, options=FAKE)
    assert [task.name for task in session.tasks.values()] == ["pets", "flowers"]
    session.close()
    assert all(engine.closed for engine in fakes.OPENED)


def test_a_task_that_was_asked_for_and_is_removed_meanwhile(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    after_a_graph(monkeypatch, lambda: remove_task(folder, "digits"))
    with pytest.raises(UsageError, match="no task 'digits', only pets, flowers"):
        open_session(folder, ["digits"], options=FAKE)


def test_a_bundle_that_changes_all_the_time_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = itertools.count(60)
    opened = after_a_graph(monkeypatch, lambda: replace_task(folder, another("pets", next(seeds))), times=100)
    with pytest.raises(FormatError, match="no such file"):
        open_session(folder, options=FAKE)
    assert len(opened) == ATTEMPTS
    assert all(engine.closed for engine in fakes.OPENED)


def test_a_file_that_is_absent_though_the_manifest_stands_is_an_error_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = after_a_graph(monkeypatch, lambda: None)
    (folder / bundle.read_manifest(folder).tasks[1].file).unlink()
    with pytest.raises(FormatError, match=r"flowers-\S+: no such file"):
        open_session(folder, options=FAKE)
    assert len(opened) == 1
