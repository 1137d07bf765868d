"""Compare a graph that was opened with what it is expected to be, before it answers anything.

A graph says in its own metadata which backbone, preprocessing, adapted blocks, task and labels it was made with
(core.bundle.graph_facts), and its inputs and outputs say what it computes on. Either may differ from the manifest that
names the file: files are mixed up, a manifest is edited. What fits here can be run without a surprise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.bundle.graph_facts import GraphFacts
from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.spec import BackboneSpec, TaskSpec
from adaptertune_deploy.engines.engine import Engine, TensorInfo

Shape = tuple[int | str, ...]
AGAIN = "run atd export again"


def check_contract(engine: Engine, facts: GraphFacts, where: str, inputs: Mapping[str, str] | None = None) -> None:
    """Raise FormatError unless the opened graph is the one that `facts` describe.

    Args:
        engine: holds the graph.
        facts: what the graph must say about itself: core.bundle.folder.shared_facts or merged_facts.
        where: the graph's file, for messages.
        inputs: name -> dtype of what the manifest says that it takes; None compares nothing.

    Raises:
        FormatError: the graph says something else, or nothing; its inputs or outputs are not those of its form, in
            name, dtype, rank or fixed size; a merged graph's logits are not as many as its task's labels.
    """
    said = graph_facts.from_metadata(engine.metadata, where)
    complaint = _task_difference(said.task, facts.task) or next(_differences(said, facts), None)
    if complaint:
        raise FormatError(f"{where}: {complaint}; {AGAIN}")
    if facts.preprocess.size != facts.backbone.image_size:
        raise FormatError(
            f"{where}: preprocess.size {facts.preprocess.size} is not the backbone's image_size "
            f"{facts.backbone.image_size}; {AGAIN}"
        )
    precision = graph_facts.precision_of(engine.metadata, where)
    _check_tensors("input", engine.inputs, _expected_inputs(facts, precision), where)
    output: tuple[str, Shape] = (bank.FEATURES, ("B", facts.backbone.features))
    if facts.task is not None:
        output = (bank.LOGITS, ("B", len(facts.task.labels)))
    _check_tensors("output", engine.outputs, {output[0]: (np.float32, output[1])}, where)
    found = {name: info.dtype.name for name, info in engine.inputs.items()}
    if inputs is not None and found != dict(inputs):
        name = min(name for name in {*found, *inputs} if found.get(name) != inputs.get(name))
        raise FormatError(
            f"{where}: input {name!r:.80} is {found.get(name, 'absent')}, the manifest says "
            f"{inputs.get(name, 'absent'):.40}; {AGAIN}"
        )


def input_types(facts: GraphFacts, precision: Precision = Precision.FP32) -> dict[str, str]:
    """Return name -> dtype of what a graph with these facts takes in a precision."""
    return {name: np.dtype(dtype).name for name, (dtype, _) in _expected_inputs(facts, precision).items()}


def _task_difference(found: TaskSpec | None, expected: TaskSpec | None) -> str | None:
    """Return how the form, the task's name or its labels differ, or None; nothing else matters to a person before."""
    if found is None or expected is None:
        return None if found is expected else f"is {_form(found)}, the manifest says {_form(expected)}"
    if found.name != expected.name:
        return f"says it answers task '{found.name}', the manifest says '{expected.name}'"
    if len(found.labels) != len(expected.labels):
        return f"says it has {len(found.labels)} labels, the manifest says {len(expected.labels)}"
    for place, (label, wanted) in enumerate(zip(found.labels, expected.labels, strict=True)):
        if label != wanted:
            return f"says label {place} is {_text(label)}, the manifest says {_text(wanted)}"
    return None


def _form(task: TaskSpec | None) -> str:
    return "the shared graph" if task is None else f"the merged graph of task '{task.name}'"


def _differences(found: object, expected: object, name: str = "") -> Iterator[str]:
    """Yield the fields in which two values differ, as sentences."""
    if dataclasses.is_dataclass(found) and type(found) is type(expected):
        for field in _compared(found, expected):
            path = f"{name}.{field}" if name else field
            yield from _differences(getattr(found, field), getattr(expected, field), path)
    elif found != expected:
        yield f"says {name} is {_text(found)}, the manifest says {_text(expected)}"


def _compared(found: Any, expected: object) -> Iterable[str]:
    """Return the fields of two values of one kind that have to be equal."""
    if isinstance(expected, BackboneSpec):
        return expected.differing(found)
    return [field.name for field in dataclasses.fields(found)]


def _text(value: object) -> str:
    return f"{value[:12]}..." if isinstance(value, str) and len(value) == 64 else f"{value!r:.80}"


def _expected_inputs(facts: GraphFacts, precision: Precision) -> dict[str, tuple[npt.DTypeLike, Shape]]:
    backbone = facts.backbone
    inputs: dict[str, tuple[npt.DTypeLike, Shape]] = {bank.IMAGES: (np.float32, ("N", 3, *backbone.image_size))}
    if facts.task is None:
        inputs |= {bank.IMAGE: (np.int64, ("B",)), bank.TASK: (np.int64, ("B",))}
        shapes = bank.input_shapes(facts.slots, backbone.width)
        inputs |= {name: (bank.dtype_in(precision), shape) for name, shape in shapes.items()}
    return inputs


def _check_tensors(
    kind: str, found: Mapping[str, TensorInfo], expected: Mapping[str, tuple[npt.DTypeLike, Shape]], where: str
) -> None:
    """Compare inputs or outputs by name, dtype and shape; a dynamic size must be dynamic, whatever it is called."""
    for name in found:
        if name not in expected:
            raise FormatError(f"{where}: has an {kind} {name!r:.80} that no graph of its form has; {AGAIN}")
    for name, (dtype, shape) in expected.items():
        if name not in found:
            raise FormatError(f"{where}: has no {kind} '{name}'; {AGAIN}")
        info = found[name]
        if info.dtype != dtype:
            raise FormatError(f"{where}: {kind} '{name}' is {info.dtype}, expected {np.dtype(dtype)}; {AGAIN}")
        if _fixed(info.shape) != _fixed(shape):
            raise FormatError(
                f"{where}: {kind} '{name}' has shape {list(info.shape)!s:.120}, expected {list(shape)}; {AGAIN}"
            )


def _fixed(shape: Shape) -> list[int | None]:
    return [size if isinstance(size, int) else None for size in shape]
