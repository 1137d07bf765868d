"""core.bundle.manifest: records that contradict themselves are refused, a graph is had by its form and precision."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from adaptertune_deploy.core.answers.stored_answer import StoredAnswer
from adaptertune_deploy.core.bundle import manifest as manifests
from adaptertune_deploy.core.bundle.manifest import GraphRecord, Manifest, select_graph, select_tasks
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.precision import Precision
from tests.builders import make_adapter, make_graph, make_parity, make_task, with_parity, write_bundle


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """`pets` and `birds` with a shared graph in two precisions and merged graphs in one."""
    held = [make_adapter(make_task("pets")), make_adapter(make_task("birds", 5), seed=1)]
    made = write_bundle(tmp_path, held)
    merged = [make_graph(made, name.encode(), name) for name in ("pets", "birds")]
    return dataclasses.replace(made, graphs=(*made.graphs, in_precision(made.graphs[0], Precision.INT8), *merged))


def in_precision(graph: GraphRecord, precision: Precision) -> GraphRecord:
    file = manifests.graph_file(graph.form, precision, graph.sha256, graph.task)
    return dataclasses.replace(graph, precision=precision, file=file)


def test_a_graph_is_had_by_exactly_its_form_precision_and_task(manifest: Manifest) -> None:
    shared, int8, pets, birds = manifest.graphs
    assert select_graph(manifest, "shared") is shared
    assert select_graph(manifest, "shared", Precision.INT8) is int8
    assert select_graph(manifest, "merged", task="birds") is birds
    assert select_graph(manifest, "merged", Precision.FP32, "pets") is pets
    assert manifests.find_graph(manifest, "merged") is None


@pytest.mark.parametrize(
    ("form", "precision", "task", "message", "made"),
    [
        (
            "shared",
            Precision.FP16,
            None,
            "no shared fp16 graph, only shared fp32, int8 and merged fp32 of",
            "atd export --precision fp32,fp16",
        ),
        (
            "merged",
            Precision.INT8,
            "pets",
            "no merged int8 graph of task 'pets', only merged fp32 of pets, birds and",
            "atd add ADAPTER --merge",
        ),
    ],
)
def test_what_is_absent_is_answered_with_what_there_is(
    manifest: Manifest, form: str, precision: Precision, task: str | None, message: str, made: str
) -> None:
    with pytest.raises(UsageError, match=f"{message}.*; make one with: {made}$"):
        select_graph(manifest, form, precision, task)


def test_select_tasks_keeps_the_order_asked_for(manifest: Manifest) -> None:
    pets, birds = manifest.tasks
    assert select_tasks(manifest, None) == (pets, birds)
    assert select_tasks(manifest, ["birds", "pets"]) == (birds, pets)
    assert select_tasks(manifest, ["birds"]) == (birds,)
    with pytest.raises(UsageError, match=r"holds no task 'brids', only pets, birds. Did you mean 'birds'\?"):
        select_tasks(manifest, ["pets", "brids"])
    with pytest.raises(UsageError, match="no task was named; name one or more of pets, birds"):
        select_tasks(manifest, [])
    with pytest.raises(UsageError, match="named twice in pets,pets"):
        select_tasks(manifest, ["pets", "pets"])


def test_the_same_graph_in_another_precision_is_another_measurement(manifest: Manifest) -> None:
    entry = make_parity(manifest.graphs[0].file)
    other = dataclasses.replace(entry, precision=Precision.BF16)
    assert dataclasses.replace(manifest, parity=(entry, other)).parity_of("pets") == (entry, other)


def test_parity_is_found_by_task_and_form(manifest: Manifest) -> None:
    measured = with_parity(manifest)
    assert [entry.graph for entry in measured.parity_of("birds")] == [
        *(graph.file for graph in manifest.graphs[:2]),
        manifest.graphs[3].file,
    ]
    assert [entry.graph for entry in measured.parity_of("pets", "merged")] == [manifest.graphs[2].file]
    assert manifest.parity_of("pets") == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"form": "both"}, "form 'both' must be one of shared, merged"),
        ({"task": "pets"}, "only a merged graph has one task"),
        ({"form": "merged"}, "only a merged graph has one task"),
        ({"sha256": "abc"}, "must be 64 hexadecimal digits"),
        ({"source": "abc"}, "must be 64 hexadecimal digits"),
        ({"precision": Precision.FP16}, "must be called backbone-fp16-"),
        ({"bytes": 0}, "has 0 bytes, expected 1 to 2,147,483,648"),
        ({"bytes": (1 << 31) + 1}, "expected 1 to 2,147,483,648"),
        ({"opset": 0}, "opset 0"),
        ({"inputs": {"images": "float8"}}, "input 'images' has dtype 'float8', expected one of float32, float16"),
        ({"inputs": {}}, "takes no input"),
    ],
)
def test_a_graphs_record_checks_itself(manifest: Manifest, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(manifest.graphs[0], **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_abs": float("nan")}, "must be finite numbers from 0"),
        ({"atol": -1.0}, "must be finite numbers from 0"),
        ({"images": 0}, "0 images"),
        ({"agreement": 1.5}, "agreement 1.5"),
        ({"cosine": -2.0}, "cosine -2.0"),
    ],
)
def test_a_measurement_checks_itself(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(make_parity("g"), **changes)


@pytest.mark.case("E8", "two tasks or graphs of one name", "refused")
def test_a_manifest_names_everything_once_and_nothing_that_is_not_there(manifest: Manifest) -> None:
    shared, _, pets, birds = manifest.graphs
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"tasks": (*manifest.tasks, manifest.tasks[0])}, "task 'pets' appears twice among pets, birds, pets"),
        ({"graphs": (shared, shared)}, r"file 'backbone-fp32-\w{8}\.onnx' appears twice"),
        (
            {"graphs": (pets, make_graph(manifest, b"x", "pets"))},
            "the merged fp32 graph of task .* appears twice",
        ),
        ({"graphs": (birds,), "tasks": manifest.tasks[:1]}, "is of task 'birds', which is none of pets"),
        ({"parity": (make_parity(shared.file), make_parity(shared.file))}, "measurement .* appears twice"),
        ({"parity": (make_parity("backbone-fp32-00000000.onnx"),)}, "'backbone-fp32-00000000.onnx' and task 'pets'"),
        ({"parity": (make_parity(shared.file, "fish"),)}, "task 'fish', which are not in the manifest"),
        ({"parity": (make_parity(birds.file, "pets"),)}, "task 'pets', which are not in the manifest"),
        ({"slots": (1, 0)}, "slots .* must be ascending, without repeats, from 0 to 3"),
        ({"slots": (0, 4)}, "slots .* must be ascending, without repeats, from 0 to 3"),
    ]
    for changes, message in wrong:
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(manifest, **changes)


def test_files_carry_what_they_are_and_the_start_of_their_hash() -> None:
    digest = "0123456789abcdef" * 4
    assert manifests.graph_file("shared", Precision.FP32, digest) == "backbone-fp32-01234567.onnx"
    assert manifests.graph_file("merged", Precision.INT8, digest, "pets") == "merged/pets-int8-01234567.onnx"
    assert manifests.tensor_file("pets", digest) == "adapters/pets-01234567.safetensors"


def stored(task: str, *logits: float) -> StoredAnswer:
    return StoredAnswer(task, "waves-1", logits)


def test_a_stored_answer_has_a_logit_for_each_label_of_a_task(manifest: Manifest) -> None:
    counts = {record.task.name: len(record.task.labels) for record in manifest.tasks}
    good = stored("birds", *[0.5] * counts["birds"])
    assert dataclasses.replace(manifest, answers=(good,)).answers == (good,)
    for wrong in (stored("birds", 0.5), stored("fish", 0.5), stored("birds")):
        with pytest.raises(ValueError, match="expected one logit a label of a task of the manifest"):
            dataclasses.replace(manifest, answers=(wrong,))
    with pytest.raises(ValueError, match="stored answer 'birds' appears twice"):
        dataclasses.replace(manifest, answers=(good, good))
