"""core.bundle.publish: a change to a bundle is whole or absent, and nobody's change is lost."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.answers.stored_answer import StoredAnswer
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle import publish
from adaptertune_deploy.core.bundle.graph_facts import GraphFacts
from adaptertune_deploy.core.bundle.manifest import GraphRecord, Manifest
from adaptertune_deploy.core.bundle.manifest_changes import Measured
from adaptertune_deploy.core.errors import FormatError, ParityError, UsageError
from adaptertune_deploy.core.storage import files
from tests.builders import (
    make_adapter,
    make_backbone_spec,
    make_parity,
    make_preprocess_spec,
    make_task,
    with_parity,
    write_adapter,
    write_bundle,
    write_merged,
)
from tests.core.bundle.test_folder import StopError, held, same
from tests.core.bundle.test_leftovers import keeping


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle of the shared form that holds `pets` and `birds`."""
    write_bundle(tmp_path / "bundle", [make_adapter(make_task("pets")), make_adapter(make_task("birds", 5), seed=1)])
    return tmp_path / "bundle"


def listing(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_task_is_added_behind_the_others(folder: Path, tmp_path: Path) -> None:
    before = bundle.read_manifest(folder)
    source = write_adapter(tmp_path / "fish", make_task("fish", 4, rank=3, blocks=(1, 2)), seed=7)
    record = publish.add_task(folder, tmp_path / "fish")
    after = bundle.read_manifest(folder)
    assert after == dataclasses.replace(before, tasks=(*before.tasks, record))
    assert after.parity == ()
    assert record.file == f"adapters/fish-{record.sha256[:8]}.safetensors"
    assert same(held(folder)["fish"], source)


@pytest.mark.parametrize(
    ("ships", "ship", "rank"),
    [("adapter", None, 2), ("head", None, 0), ("adapter", "head", 0), ("head", "adapter", 2)],
)
def test_the_bundle_holds_what_ships_and_nothing_else(
    folder: Path, tmp_path: Path, ships: str, ship: str | None, rank: int
) -> None:
    task = make_task("fish", temperature=3.0)
    write_adapter(tmp_path / "fish", task, ships=ships, probe_temperature=0.5)
    record = publish.add_task(folder, tmp_path / "fish", ship=ship)
    _, expected = adapters.read_adapter(tmp_path / "fish", ship)
    assert record.task == make_task("fish", rank=rank, temperature=3.0 if rank else 0.5)
    assert same(held(folder)["fish"], expected)
    found = safetensors.numpy.load_file(folder / record.file)
    assert found.keys() == expected.tensors.keys()


def test_the_other_candidate_takes_the_place_of_the_first(folder: Path, tmp_path: Path) -> None:
    write_adapter(tmp_path / "pets")
    publish.add_task(folder, tmp_path / "pets")
    told: list[str] = []
    record = publish.add_task(folder, tmp_path / "pets", told.append, ship="head")
    assert told == [f"replaced task 'pets' of {folder}/"]
    assert bundle.read_manifest(folder).tasks[0] == record
    assert record.task.adapter.words == "head only"


def test_a_task_that_is_a_head_only_needs_no_slot(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", [make_adapter(make_task("pets", blocks=(2, 3)))], slots=(2, 3))
    write_adapter(tmp_path / "fish", make_task("fish"))
    with pytest.raises(FormatError, match="adapts block 0"):
        publish.add_task(tmp_path / "bundle", tmp_path / "fish")
    publish.add_task(tmp_path / "bundle", tmp_path / "fish", ship="head")
    assert list(held(tmp_path / "bundle")) == ["pets", "fish"]


def test_an_adapter_that_was_never_trained_is_refused_and_nothing_is_written(folder: Path, tmp_path: Path) -> None:
    before = listing(folder)
    write_adapter(tmp_path / "fish", make_task("fish", rank=0))
    with pytest.raises(UsageError, match="task 'fish' was trained with rank 0 and has no adapter to ship"):
        publish.add_task(folder, tmp_path / "fish", ship="adapter")
    assert listing(folder) == before


def test_a_task_is_replaced_in_its_place(folder: Path, tmp_path: Path) -> None:
    before = bundle.read_manifest(folder)
    before = with_parity(write_merged(folder, before, {"pets": b"graph", "birds": b"another graph"}))
    bundle.write_manifest(folder, before)
    source = write_adapter(tmp_path / "pets", make_task("pets", 6), seed=9)
    told: list[str] = []
    record = publish.add_task(folder, tmp_path / "pets", told.append)
    assert told == [
        f"replaced task 'pets' of {folder}/",
        f"removed {before.graphs[1].file}, the merged graph of what it was; for a new one: atd add --merge",
    ]
    after = bundle.read_manifest(folder)
    assert after.tasks == (record, before.tasks[1])
    assert same(held(folder)["pets"], source)
    assert after.graphs == (before.graphs[0], before.graphs[2])
    assert after.parity == before.parity_of("birds")
    assert sorted(os.listdir(folder / "adapters")) == sorted(Path(kept.file).name for kept in (record, before.tasks[1]))
    assert os.listdir(folder / "merged") == [Path(before.graphs[2].file).name]


def test_the_same_labels_in_another_order_are_another_task(folder: Path, tmp_path: Path) -> None:
    task = make_task("pets")
    write_adapter(tmp_path / "pets", dataclasses.replace(task, labels=task.labels[::-1]))
    record = publish.add_task(folder, tmp_path / "pets")
    assert bundle.read_manifest(folder).tasks[0] == record
    assert held(folder)["pets"].task.labels == task.labels[::-1]


def test_adding_what_is_there_keeps_its_record_and_mends_its_file(folder: Path, tmp_path: Path) -> None:
    before = with_parity(write_merged(folder, bundle.read_manifest(folder), {"pets": b"graph"}))
    bundle.write_manifest(folder, before)
    (folder / before.tasks[0].file).write_bytes(b"damaged")
    write_adapter(tmp_path / "pets", make_task("pets"))
    assert publish.add_task(folder, tmp_path / "pets") == before.tasks[0]
    assert bundle.read_manifest(folder) == before
    assert same(held(folder)["pets"], make_adapter(make_task("pets")))


@pytest.mark.case("B11", "killed before the manifest of `atd add` is written", "the old bundle reads")
@pytest.mark.parametrize("name", ["pets", "fish"])
def test_killed_before_the_manifest_the_old_bundle_still_reads(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before, tasks = bundle.read_manifest(folder), held(folder)
    write_adapter(tmp_path / name, make_task(name, 6), seed=9)

    def killed(folder: Path, manifest: Manifest) -> None:
        raise StopError

    with monkeypatch.context() as patch:
        patch.setattr(bundle, "write_manifest", killed)
        with pytest.raises(StopError):
            publish.add_task(folder, tmp_path / name)
    assert bundle.read_manifest(folder) == before
    assert all(same(adapter, tasks[found]) for found, adapter in held(folder).items())
    publish.add_task(folder, tmp_path / name)
    assert held(folder)[name].task.labels == make_task(name, 6).labels


@pytest.mark.case("B11", "killed after it", "the new task reads")
def test_killed_after_the_manifest_the_new_task_reads(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_adapter(tmp_path / "pets", make_task("pets", 6), seed=9)

    def killed(self: Path, missing_ok: bool = False) -> None:
        raise StopError

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(StopError):
            publish.add_task(folder, tmp_path / "pets")
    assert same(held(folder)["pets"], source)


OTHER_BACKBONE = make_backbone_spec(sha256="c" * 64)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        ({"backbone": OTHER_BACKBONE}, r"trained on .*\(cccccccccccc\.\.\.\), .* holds .*\(bbbbbbbbbbbb\.\.\.\)"),
        ({"backbone": make_backbone_spec(image_size=(64, 48))}, "random at 64 x 48 .*random at 32 x 32"),
        (
            {"preprocess": make_preprocess_spec(interpolation="bilinear")},
            "does it: interpolation bilinear, not bicubic; train",
        ),
        (
            {"task": make_task("fish", blocks=(0, 3))},
            "adapts block 0, but the shared graph has slots .* 2, 3",
        ),
    ],
)
def test_a_task_that_does_not_belong_is_refused_and_nothing_is_written(
    tmp_path: Path, build: dict[str, Any], message: str
) -> None:
    folder = tmp_path / "bundle"
    write_bundle(folder, [make_adapter(make_task("pets", blocks=(2, 3)))], slots=(2, 3))
    before = sorted(path for path in folder.rglob("*"))
    write_adapter(tmp_path / "fish", **{"task": make_task("fish", blocks=(2, 3)), **build})
    with pytest.raises(FormatError, match=message):
        publish.add_task(folder, tmp_path / "fish")
    assert sorted(path for path in folder.rglob("*")) == before
    assert list(held(folder)) == ["pets"]


# What is measured and made on the way


def test_only_the_manifest_and_the_new_tasks_own_files_are_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the work does not grow with the graphs or with the other tasks."""
    write_adapter(tmp_path / "fish", make_task("fish"))
    read: list[str] = []
    real = files.read_regular

    def read_regular(path: Path, limit: int | None = None) -> bytes:
        read.append(path.name)
        return real(path, limit)

    monkeypatch.setattr(files, "read_regular", read_regular)
    record = publish.add_task(folder, tmp_path / "fish")
    written = Path(record.file).name  # looked for, so that it is not written twice
    assert set(read) == {"manifest.json", "adapter_config.json", "adapter_model.safetensors", written}
    assert read.count("manifest.json") == 1


def test_what_is_measured_is_recorded_beside_what_was(folder: Path, tmp_path: Path) -> None:
    before = with_parity(bundle.read_manifest(folder))
    bundle.write_manifest(folder, before)
    write_adapter(tmp_path / "fish", make_task("fish"))
    seen: list[tuple[str, bytes, list[str]]] = []

    def verify(manifest: Manifest, graph: GraphRecord, data: bytes, adapter: Adapter) -> Measured:
        seen.append((adapter.task.name, data, [record.task.name for record in manifest.tasks]))
        return Measured(make_parity(graph.file, "fish", max_abs=1e-6 * len(seen)))

    for turn in (1, 2):  # the second measurement takes the place of the first
        publish.add_task(folder, tmp_path / "fish", verify=verify)
        (entry,) = bundle.read_manifest(folder).parity_of("fish")
        assert entry.max_abs == 1e-6 * turn
    assert seen == [("fish", b"stands for an ONNX graph", ["pets", "birds", "fish"])] * 2
    assert bundle.read_manifest(folder).parity[:2] == before.parity


def test_a_task_that_answers_otherwise_is_not_added(folder: Path, tmp_path: Path) -> None:
    before = {name: (folder / name).read_bytes() for name in listing(folder)}
    write_adapter(tmp_path / "fish", make_task("fish"))

    def verify(*_: object) -> Measured:
        raise ParityError("differs")

    with pytest.raises(ParityError, match="differs"):
        publish.add_task(folder, tmp_path / "fish", verify=verify, merge=lambda *_: b"merged")
    assert {name: (folder / name).read_bytes() for name in listing(folder)} == before


def test_a_merged_graph_is_made_of_the_shared_one_and_measured_too(folder: Path, tmp_path: Path) -> None:
    (shared,) = bundle.read_manifest(folder).graphs
    measured: list[tuple[str, bytes]] = []

    def verify(manifest: Manifest, graph: GraphRecord, data: bytes, adapter: Adapter) -> Measured:
        measured.append((graph.form, data))
        answer = StoredAnswer("pets", "waves-1", tuple(map(float, adapter.tensors["head.bias"])))
        return Measured(make_parity(graph.file, adapter.task.name), answer if graph.task is None else None)

    def merge(source: bytes, adapter: Adapter, facts: GraphFacts) -> bytes:
        assert facts.task == adapter.task
        return source + adapter.tensors["head.bias"].tobytes()

    for seed in (3, 4):  # added, then replaced
        source = write_adapter(tmp_path / "pets", make_task("pets"), seed=seed)
        publish.add_task(folder, tmp_path / "pets", verify=verify, merge=merge)
        manifest = bundle.read_manifest(folder)
        graph = manifest.graphs[1]
        data = b"stands for an ONNX graph" + source.tensors["head.bias"].tobytes()
        assert (graph.form, graph.task, graph.source, graph.inputs) == (
            *("merged", "pets", shared.sha256),
            {"images": "float32"},
        )
        assert bundle.read_graph(folder, graph) == data
        assert measured[-2:] == [("shared", b"stands for an ONNX graph"), ("merged", data)]
        assert [entry.graph for entry in manifest.parity] == [shared.file, graph.file]
        (answer,) = manifest.answers
        assert answer.logits == tuple(map(float, source.tensors["head.bias"]))
        assert listing(folder) == sorted(["manifest.json", *manifest.files])


def test_a_damaged_adapter_is_refused(folder: Path, tmp_path: Path) -> None:
    write_adapter(tmp_path / "fish", make_task("fish"))
    (tmp_path / "fish" / adapters.MODEL_NAME).write_bytes(b"damaged")
    with pytest.raises(FormatError, match="the file was changed or damaged"):
        publish.add_task(folder, tmp_path / "fish")
    assert list(held(folder)) == ["pets", "birds"]


def test_a_bundle_of_merged_graphs_takes_no_task(folder: Path, tmp_path: Path) -> None:
    bundle.write_manifest(folder, dataclasses.replace(bundle.read_manifest(folder), graphs=()))
    write_adapter(tmp_path / "fish", make_task("fish"))
    with pytest.raises(FormatError, match="holds merged graphs only"):
        publish.add_task(folder, tmp_path / "fish")


def test_values_that_overflow_float32_are_refused(folder: Path, tmp_path: Path) -> None:
    """Tensors and alpha are finite each, their product is not."""
    before = listing(folder)
    write_adapter(tmp_path / "fish", make_task("fish", alpha=3e38))
    with pytest.raises(FormatError, match=r"task 'fish': alpha 3e\+38 times 'blocks.* overflows float32"):
        publish.add_task(folder, tmp_path / "fish")
    assert listing(folder) == before


def test_a_mistyped_bundle_is_not_made(tmp_path: Path) -> None:
    write_adapter(tmp_path / "fish", make_task("fish"))
    with pytest.raises(FormatError, match=r"holds no manifest.json"):
        publish.add_task(tmp_path / "bnudle", tmp_path / "fish")
    assert not (tmp_path / "bnudle").exists()


def write_and_stop(writer: publish.Writer) -> None:
    writer.write("adapters/pets-00000000.safetensors", b"x")
    raise StopError


# Many writers


def add(folder: Path, source: Path) -> None:
    publish.add_task(folder, source)


def test_no_task_is_lost_when_many_are_added_at_once(folder: Path, tmp_path: Path) -> None:
    names = [f"t{number}" for number in range(12)]
    for number, name in enumerate(names):
        write_adapter(tmp_path / name, make_task(name), seed=number)
    processes = [
        multiprocessing.get_context("fork").Process(target=add, args=(folder, tmp_path / n)) for n in names[:6]
    ]
    threads = [threading.Thread(target=add, args=(folder, tmp_path / name)) for name in names[6:]]
    for worker in (*processes, *threads):
        worker.start()
    for worker in (*processes, *threads):
        worker.join(60)
    assert [process.exitcode for process in processes] == [0] * 6
    assert sorted(held(folder)) == sorted(["pets", "birds", *names])
    assert len(listing(folder)) == 2 + 14


# What killed writers leave


def test_what_a_killed_writer_left_is_removed_and_named(folder: Path, tmp_path: Path) -> None:
    kept = listing(folder)
    for name in ("adapters/fish-0badcafe.safetensors", "merged/pets-0badcafe.onnx", ".manifest.json.new.abcd1234"):
        files.write_bytes(folder / name, b"half")
    for name in ("plans/a.plan", "notes.txt", "adapters/mine.safetensors"):
        files.write_bytes(folder / name, b"somebody's own")
    write_adapter(tmp_path / "pets", make_task("pets"))
    told: list[str] = []
    publish.add_task(folder, tmp_path / "pets", told.append)
    assert told == [f"removed 3 files that a killed run had left behind ({folder}/.manifest.json.new.abcd1234)"]
    assert listing(folder) == sorted([*kept, "plans/a.plan", "notes.txt", "adapters/mine.safetensors"])


@pytest.mark.parametrize("change", ["add", "remove"])
def test_an_old_file_that_can_not_be_removed_is_told_of_and_the_change_stands(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    old = folder / bundle.read_manifest(folder).tasks[0].file
    write_adapter(tmp_path / "pets", make_task("pets", 6), seed=9)
    told: list[str] = []
    keeping(monkeypatch, "pets-")
    if change == "add":
        publish.add_task(folder, tmp_path / "pets", told.append)
    else:
        publish.remove_task(folder, "pets", told.append)
    assert told[-1].startswith(f"could not remove a file that no manifest names ({old}: Permission denied); ")
    assert old.exists()
    assert list(held(folder)) == (["pets", "birds"] if change == "add" else ["birds"])


def test_later_writers_go_on_beside_what_can_not_be_removed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("adapters/fish-0badcafe.safetensors", "adapters/cats-0badcafe.safetensors"):
        files.write_bytes(folder / name, b"half")
    write_adapter(tmp_path / "dogs", make_task("dogs"))
    told: list[str] = []
    keeping(monkeypatch, "fish-")
    publish.add_task(folder, tmp_path / "dogs", told.append)
    assert [sentence.partition(" that ")[0] for sentence in told] == ["could not remove a file", "removed a file"]
    assert list(held(folder)) == ["pets", "birds", "dogs"]


def test_a_change_that_fails_says_so_though_what_it_wrote_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    keeping(monkeypatch, "pets-00000000")
    with pytest.raises(StopError), publish.writing(folder, told.append) as writer:
        write_and_stop(writer)
    assert [sentence.partition(" (")[0] for sentence in told] == ["could not remove a file that no manifest names"]


# Writing anew


def test_a_failed_first_write_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(StopError), publish.writing(tmp_path / "a" / "bundle") as writer:
        write_and_stop(writer)
    assert os.listdir(tmp_path) == []


def test_a_failed_change_leaves_the_bundle_as_it_was(folder: Path) -> None:
    before = {name: (folder / name).read_bytes() for name in listing(folder)}
    with pytest.raises(StopError), publish.writing(folder) as writer:
        write_and_stop(writer)
    assert {name: (folder / name).read_bytes() for name in listing(folder)} == before


def test_a_signal_right_after_the_manifest_removes_nothing_that_it_names(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = bundle.write_manifest

    def interrupted(place: Path, manifest: Manifest) -> None:
        write(place, manifest)
        raise StopError

    write_adapter(tmp_path / "fish", make_task("fish"))
    with monkeypatch.context() as patch:
        patch.setattr(bundle, "write_manifest", interrupted)
        with pytest.raises(StopError):
            publish.add_task(folder, tmp_path / "fish")
    assert list(held(folder)) == ["pets", "birds", "fish"]


def test_publishing_removes_what_only_the_old_manifest_named(folder: Path) -> None:
    with publish.writing(folder) as writer:
        assert writer.old == bundle.read_manifest(folder)
        manifest = dataclasses.replace(writer.old, tasks=writer.old.tasks[:1])
        writer.publish(manifest)
    assert listing(folder) == sorted(["manifest.json", *manifest.files])
