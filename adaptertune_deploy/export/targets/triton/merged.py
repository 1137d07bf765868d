"""The repository merged/: one plain ONNX model a task, for Triton's ONNX Runtime backend; no Python of ours runs.

TASK/config.pbtxt       input images, output logits with the task's labels
TASK/labels.txt         a label a line, in the order of the logits
TASK/preprocess.json    how an image becomes the input, which is the client's work here
TASK/1/model.onnx       the task's merged graph
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import MERGED, GraphRecord, Manifest, TaskRecord, find_graph
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.export.targets.triton import config
from adaptertune_deploy.export.targets.triton.config import Message

BATCH = 32  # rows of one run at most
PREPROCESS = "preprocess.json"
OWN_FILE = re.compile(r"[^/]+/(config\.pbtxt|labels\.txt|preprocess\.json|1/model\.onnx)")  # below the repository
KINDS = {"float32": "FP32", "float16": "FP16", "bfloat16": "BF16", "uint8": "UINT8"}


def write(source: Path, manifest: Manifest, folder: Path, device: str) -> None:
    """Write the repository; every task that has a merged graph becomes a model of its name.

    Args:
        source: the bundle.
        manifest: the bundle's.
        folder: the repository, which need not exist.
        device: see engines.options.EngineOptions.

    Raises:
        FormatError: a graph of the bundle is not the one that the manifest vouches for.
    """
    for record in manifest.tasks:
        graph = graph_of(manifest, record.task.name)
        if graph is None:
            continue
        model = folder / record.task.name
        files.write_bytes(model / "1" / "model.onnx", bundle.read_graph(source, graph))
        files.write_bytes(model / "config.pbtxt", config.text(_config(manifest, record, graph, device)).encode())
        files.write_bytes(model / "labels.txt", "".join(f"{_line(label)}\n" for label in record.task.labels).encode())
        steps = json.dumps(dataclasses.asdict(manifest.preprocess), indent=2)
        files.write_bytes(model / PREPROCESS, f"{steps}\n".encode())


def graph_of(manifest: Manifest, task: str) -> GraphRecord | None:
    """Return the merged graph of a task: fp32 where there is one, else the first precision that there is."""
    found = (find_graph(manifest, MERGED, precision, task) for precision in Precision)
    return next((graph for graph in found if graph is not None), None)


def _config(manifest: Manifest, record: TaskRecord, graph: GraphRecord, device: str) -> Message:
    size = [3, *manifest.preprocess.size]
    kind = KINDS[graph.inputs[bank.IMAGES]]
    zeros: Message = {"data_type": config.Word(f"TYPE_{kind}"), "dims": size, "zero_data": config.Word("true")}
    return {
        "name": record.task.name,
        "backend": "onnxruntime",
        "max_batch_size": BATCH,
        "input": [config.tensor(bank.IMAGES, kind, size)],
        "output": [config.tensor(bank.LOGITS, "FP32", [len(record.task.labels)], "labels.txt")],
        "instance_group": [config.instance(device)],
        "dynamic_batching": config.queue(),
        "model_warmup": [
            {"name": f"{rows} rows", "batch_size": rows, "inputs": [{"key": bank.IMAGES, "value": zeros}]}
            for rows in (1, BATCH)
        ],
    }


def _line(label: str) -> str:
    """Return a label on one line."""
    return re.sub(r"\s", " ", label)
