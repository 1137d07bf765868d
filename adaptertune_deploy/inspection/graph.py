"""What an ONNX graph holds: operators, dtypes of its weights part by part, inputs, and what it says about itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.bundle.graph_facts import GraphFacts
from adaptertune_deploy.core.bundle.manifest import GRAPH_LIMIT
from adaptertune_deploy.core.errors import AtdError, FormatError
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.engines.onnx.plain_graph import check_plain
from adaptertune_deploy.inspection.inspected import Cell, Inspected, Sheet, Size
from adaptertune_deploy.inspection.onnx_summary import BLOCK, OnnxSummary, Value, Weights, summarise


def fits(path: Path) -> bool:
    """Return whether a path is a file that ends in .onnx."""
    return path.suffix.lower() == ".onnx" and path.is_file()


def inspect(path: Path) -> Inspected:
    """Read a graph. A graph that atd would not run, or that says nothing about itself, is shown with that as a fault.

    Raises:
        FormatError: not an ONNX file.
    """
    data = files.read_regular(path, GRAPH_LIMIT)
    try:
        summary = summarise(data)
    except ValueError as error:
        raise FormatError(
            f"{path}: not an ONNX file, or a damaged one ({error}); make graphs with: atd export"
        ) from None
    faults, said, precision = [], None, ""
    try:
        check_plain(data, str(path))
        precision = graph_facts.precision_of(summary.metadata, str(path)).value
        said = graph_facts.from_metadata(summary.metadata, str(path))
    except AtdError as error:
        faults.append(str(error))
    digest = files.sha256_bytes(data)
    facts = {
        "bytes": len(data),
        "sha256": digest,
        **dataclasses.asdict(summary),
        "says": dataclasses.asdict(said) if said else None,
        "precision": precision or None,
        "faults": faults,
    }
    lines: tuple[tuple[str, Cell], ...] = (
        ("size", Size(len(data))),
        ("sha256", digest),
        ("opset", f"{', '.join(_opsets(summary))}, IR version {summary.ir_version}"),
        *((("precision", precision),) if said else ()),
        *(_said(said) if said else ()),
    )
    return Inspected("graph", facts, lines, _sheets(summary), tuple(faults))


def _opsets(summary: OnnxSummary) -> Iterator[str]:
    for domain, number in summary.opsets.items():
        yield f"{domain} {number}".strip()


def _said(said: GraphFacts) -> Iterator[tuple[str, Cell]]:
    height, width = said.preprocess.size
    yield "form", f"merged, of task {said.task.name}" if said.task else "shared, for any task"
    yield "backbone", f"{said.backbone.name} {said.backbone.sha256[:12]}..., images {height} x {width}"
    yield "slots", f"after {len(said.slots)} blocks: {', '.join(map(str, said.slots)) or 'none'}"
    if said.task:
        yield "labels", f"{len(said.task.labels)}: {', '.join(said.task.labels[:6])}"


def _sheets(summary: OnnxSummary) -> tuple[Sheet, ...]:
    operators = tuple((name, f"{count:,}") for name, count in summary.operators.items())
    tensors = [("input", *_row(name, value)) for name, value in summary.inputs.items() if not BLOCK.match(name)]
    bank = [value for name, value in summary.inputs.items() if BLOCK.match(name)]
    if bank:
        kinds = ", ".join(sorted({value.dtype for value in bank}))
        tensors.append(("input", f"{len(bank)} tensors of the bank", kinds, "T, ..."))
    tensors += [("output", *_row(name, value)) for name, value in summary.outputs.items()]
    weights = tuple(
        (name, entry.dtype, f"{entry.tensors:,}", f"{entry.numbers:,}", Size(entry.bytes))
        for name, entry in _ranges(summary.weights)
    )
    total = sum(summary.operators.values())
    return (
        Sheet("inputs and outputs", ("", "name", "dtype", "shape"), (), tuple(tensors)),
        Sheet("weights", ("part", "dtype"), ("tensors", "numbers", "size"), weights),
        Sheet(f"{total:,} nodes", ("operator",), ("nodes",), operators),
    )


def _row(name: str, value: Value) -> tuple[str, str, str]:
    return name, value.dtype, ", ".join(map(str, value.shape))


def _ranges(weights: Iterable[Weights]) -> Iterator[tuple[str, Weights]]:
    """Yield parts with what each holds; blocks in a row that hold the same, "blocks.0 to 11", once."""
    runs: list[tuple[int, int, Weights]] = []
    for entry in weights:
        found = BLOCK.match(f"{entry.part}.")
        place = int(found[1]) if found else -1
        alike = dataclasses.replace(entry, part=entry.part.replace(f".{place}", "", 1))
        last = next((at for at, run in enumerate(runs) if run[2] == alike and run[1] == place - 1 >= 0), None)
        if last is None:
            runs.append((place, place, alike))
        else:
            runs[last] = (runs[last][0], place, alike)
    for first, last, alike in runs:
        kind = alike.part.removeprefix("blocks")
        numbers = f"{first}" if first == last else f"{first} to {last}"
        yield (alike.part if first < 0 else f"blocks {numbers}{', adapters' if kind else ''}"), alike
