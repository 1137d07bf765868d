"""A bundle of format version 1 becomes one of version 2, without torch: nothing is traced, no number changes.

The shared graph's head is cut off: it gives features, and heads are applied outside. Merged graphs keep every node and
get new facts. Every new graph is run beside the old one before anything is published.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from adaptertune_deploy.core.adapter import bank, heads
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle import graph_facts, publish
from adaptertune_deploy.core.bundle.graph_facts import GraphFacts
from adaptertune_deploy.core.bundle.manifest import (
    FORMAT_VERSION,
    MERGED,
    SHARED,
    GraphRecord,
    Manifest,
    ParityRecord,
    TaskRecord,
)
from adaptertune_deploy.core.bundle.publish import Tell, Writer
from adaptertune_deploy.core.errors import ExportError, ParityError
from adaptertune_deploy.core.precision import TOLERANCES, Precision
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.engine import AnyArray, Engine
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.options import ON_CPU
from adaptertune_deploy.engines.verification.contract import check_contract, input_types
from adaptertune_deploy.export import onnx_file, version1
from adaptertune_deploy.export.onnx_file import OnnxFile
from adaptertune_deploy.export.version1 import Graph1, Manifest1, Parity1

IMAGES = 4
TOGETHER = 32  # tasks of one run


def upgrade(folder: Path, tell: Tell = publish.silent, progress: Progress = silent) -> Manifest:
    """Convert a bundle of version 1 in place; after an error it is as it was.

    What was measured against torch stays on record: the new graphs were found to answer as the old ones.

    Args:
        folder: the bundle.
        tell: see core.bundle.publish.writing.
        progress: told about the graphs.

    Raises:
        FormatError: no bundle of version 1, or a damaged one.
        ExportError: its graphs are not those that `atd export` wrote.
        ParityError: a new graph answers otherwise than the old one.
        EngineError: no engine to run them on.
    """
    version1.read_manifest(folder)  # so that a mistyped folder is not made
    with publish.writing(folder, tell, lambda place: version1.read_manifest(place).files) as writer:
        old = version1.read_manifest(folder)
        manifest = Manifest(
            FORMAT_VERSION,
            old.backbone,
            old.preprocess,
            old.slots,
            tuple(TaskRecord(task.task, task.file, task.sha256) for task in old.tasks),
            versions=old.versions,
        )
        entries: list[ParityRecord] = []
        graphs: list[GraphRecord] = []
        total = sum(task.merged is not None for task in old.tasks) + (old.shared is not None)
        if old.shared is not None:
            progress("graphs", 0, total)
            graphs.append(_convert_shared(folder, writer, manifest, old.shared))
            entries += _kept_parity(old, graphs[-1], {task.task.name: task.shared_parity for task in old.tasks})
        for task in old.tasks:
            if task.merged is not None:
                progress("graphs", len(graphs), total)
                graphs.append(_convert_merged(folder, writer, manifest, task.task.name, task.merged))
                entries += _kept_parity(old, graphs[-1], {task.task.name: task.merged_parity})
        progress("graphs", total, total)
        manifest = dataclasses.replace(manifest, graphs=tuple(graphs), parity=tuple(entries))
        writer.publish(manifest)
    return manifest


def cut_head(data: bytes, where: str) -> bytes:
    """Return a shared graph of version 1 without its head: inputs head.* gone, output `features`, facts of version 2.

    Raises:
        ExportError: not a shared graph that `atd export` wrote.
        FormatError: it says nothing about itself, or is of another version.
    """
    file = onnx_file.read(data, where)
    graph = file.model.graph
    made = {output: node for node in graph.node for output in node.output}
    weights = [name for name, node in made.items() if node.op_type == "Gather" and node.input[0] == bank.HEAD_WEIGHT]
    products = [node for node in graph.node if node.op_type == "MatMul" and weights and node.input[1] == weights[0]]
    row = made.get(products[0].input[0]) if products else None
    if row is None or row.op_type != "Unsqueeze":
        raise ExportError(f"{where}: is no shared graph that atd export wrote; run atd export again")
    features = row.input[0]
    nodes = _needed(graph.node, features)
    for node in nodes:
        node.input[:] = [bank.FEATURES if name == features else name for name in node.input]
        node.output[:] = [bank.FEATURES if name == features else name for name in node.output]
    inputs = [entry for entry in graph.input if entry.name not in (bank.HEAD_WEIGHT, bank.HEAD_BIAS)]
    facts = _put_facts(file, where)
    size = facts.backbone.features
    output = onnx.helper.make_tensor_value_info(bank.FEATURES, onnx.TensorProto.FLOAT, ["B", size])
    for held, values in ((graph.node, nodes), (graph.input, inputs), (graph.output, [output])):
        copies = [type(value).FromString(value.SerializeToString()) for value in values]
        del held[:]
        held.extend(copies)
    read = {name for node in graph.node for name in node.input}
    kept = {name: tensor for name, tensor in file.tensors.items() if name in read}
    return onnx_file.write(OnnxFile(file.model, kept), facts.backbone.name)


def renew_facts(data: bytes, where: str) -> bytes:
    """Return a graph of version 1 with facts of version 2, otherwise as it was."""
    file = onnx_file.read(data, where)
    return onnx_file.write(file, _put_facts(file, where).backbone.name)


def _needed(nodes: Sequence[onnx.NodeProto], output: str) -> list[onnx.NodeProto]:
    """Return the nodes that `output` is computed by, in their order."""
    wanted, kept = {output}, []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]


def _put_facts(file: OnnxFile, where: str) -> GraphFacts:
    """Replace a graph's facts by the same of this format version, and return them."""
    said = {entry.key: entry.value for entry in file.model.metadata_props}
    facts = version1.read_facts(said, where, graph_facts.FORMAT_VERSION)
    del file.model.metadata_props[:]
    for key, value in sorted((said | graph_facts.to_metadata(facts)).items()):
        file.model.metadata_props.add(key=key, value=value)
    return facts


def _convert_shared(folder: Path, writer: Writer, manifest: Manifest, old: Graph1) -> GraphRecord:
    adapters = [bundle.read_task(folder, manifest, record) for record in manifest.tasks]

    def answers(engine: Engine, images: Array) -> list[Array]:
        rows = []
        for start in range(0, len(adapters), TOGETHER):
            rows += _shared_answers(engine, adapters[start : start + TOGETHER], manifest, images)
        return rows

    return _convert(folder, writer, manifest, None, old, cut_head, answers)


def _convert_merged(folder: Path, writer: Writer, manifest: Manifest, task: str, old: Graph1) -> GraphRecord:
    def answers(engine: Engine, images: Array) -> list[Array]:
        return [*engine.run({bank.IMAGES: images})[bank.LOGITS]]

    return _convert(folder, writer, manifest, task, old, renew_facts, answers)


def _convert(
    folder: Path,
    writer: Writer,
    manifest: Manifest,
    task: str | None,
    old: Graph1,
    convert: Callable[[bytes, str], bytes],
    answers: Callable[[Engine, Array], list[Array]],
) -> GraphRecord:
    """Convert one graph, compare it with the old one, write it and return its record.

    Args:
        folder: the bundle.
        writer: of the bundle.
        manifest: the new one, as far as it is made.
        task: whose merged graph it is, None for the shared one.
        old: the old graph's record.
        convert: old bytes and file -> new bytes.
        answers: a graph's logits for images, row by row.
    """
    where = str(folder / old.file)
    before = version1.read_graph(folder, old)
    size = manifest.preprocess.size
    images = np.random.default_rng(0).normal(size=(IMAGES, 3, *size)).astype(np.float32)
    with contextlib.closing(open_engine(before, where, ON_CPU)) as engine:
        expected = answers(engine, images)
    data = convert(before, where)
    facts = bundle.facts_of(manifest, task)
    graph = bundle.record_graph(
        data,
        SHARED if task is None else MERGED,
        input_types(facts),
        opset=old.opset,
        ir_version=old.ir_version,
        task=task,
    )
    with contextlib.closing(open_engine(data, where, ON_CPU)) as engine:
        check_contract(engine, facts, where, graph.inputs)
        _check_same(answers(engine, images), expected, where)
    writer.write(graph.file, data)
    return graph


def _check_same(found: Sequence[Array], expected: Sequence[Array], where: str) -> None:
    pairs = list(zip(found, expected, strict=True))
    difference = max(float(np.abs(row.astype(np.float64) - wanted).max()) for row, wanted in pairs)
    allowed = TOLERANCES[Precision.FP32].largest(max(float(np.abs(wanted).max()) for wanted in expected))
    if not difference <= allowed:
        raise ParityError(
            f"{where}: converted, it answers otherwise than before (by up to {difference:.1e}, expected at most "
            f"{allowed:.0e}); the bundle is as it was, run atd export again"
        )


def _shared_answers(engine: Engine, adapters: Sequence[Adapter], manifest: Manifest, images: Array) -> list[Array]:
    """Return logits of every task, each for one of the images, from a graph with heads or from one without."""
    task = np.arange(len(adapters), dtype=np.int64)
    feeds: Mapping[str, AnyArray] = {
        bank.IMAGES: images,
        bank.IMAGE: task % len(images),
        bank.TASK: task,
        **bank.stack([bank.folded_blocks(adapter) for adapter in adapters], manifest.slots, manifest.backbone.width),
    }
    ends = [heads.head_of(adapter) for adapter in adapters]
    if bank.HEAD_WEIGHT not in engine.inputs:
        return heads.apply(ends, engine.run(feeds)[bank.FEATURES], task)
    widest = max(len(end.bias) for end in ends)
    weight = np.zeros((len(ends), len(ends[0].weight), widest), dtype=np.float32)
    bias = np.zeros((len(ends), widest), dtype=np.float32)
    for place, end in enumerate(ends):
        weight[place, :, : len(end.bias)], bias[place, : len(end.bias)] = end.weight, end.bias
    logits = engine.run({**feeds, bank.HEAD_WEIGHT: weight, bank.HEAD_BIAS: bias})[bank.LOGITS]
    return [row[: len(end.bias)] for row, end in zip(logits, ends, strict=True)]


def _kept_parity(old: Manifest1, graph: GraphRecord, measured: Mapping[str, Parity1 | None]) -> list[ParityRecord]:
    """Return what version 1 had measured, of the new graph; its tolerance, a number, becomes atol."""
    engine_version = old.versions.get("onnxruntime") or old.versions.get("onnxruntime-gpu") or "unknown"
    return [
        ParityRecord(
            graph=graph.file,
            task=task,
            engine=ON_CPU.engine,
            engine_version=engine_version,
            provider=entry.provider,
            precision=Precision.FP32,
            images=entry.images,
            max_abs=entry.max_abs,
            mean_abs=entry.mean_abs,
            cosine=min(1.0, entry.cosine),
            agreement=entry.top1_agreement,
            atol=entry.tolerance,
            rtol=0.0,
        )
        for task, entry in measured.items()
        if entry is not None
    ]
