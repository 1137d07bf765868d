"""The repository shared/: one model for every task, which Triton's Python backend runs through a session of ours.

adaptertune/config.pbtxt     inputs image and task, STRING [B, 1]; outputs logits, label, probability
adaptertune/labels.json      task -> its labels in the order of its logits
adaptertune/warmup/          one request
adaptertune/1/model.py       serve/triton_model.py of this package
adaptertune/1/bundle/        the shared graphs and every task
"""

from __future__ import annotations

import io
import json
import re
import struct
from dataclasses import replace
from pathlib import Path

import adaptertune_deploy
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle import leftovers
from adaptertune_deploy.core.bundle.manifest import SHARED, Manifest
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.export.targets.triton import config
from adaptertune_deploy.export.targets.triton.config import Message

NAME = "adaptertune"
CODE = Path(adaptertune_deploy.__file__).parent / "serve" / "triton_model.py"
BATCH = 32  # rows of one run at most
OWN_FILE = re.compile(  # below the repository; Python leaves a cache beside model.py where Triton ran it
    rf"{NAME}/(config\.pbtxt|labels\.json|warmup/(image|task)|1/(model\.py|__pycache__/model\.[^/]+\.pyc|"
    rf"bundle/(\.lock|manifest\.json|{leftovers.OWN_FILE.pattern})))"
)
SETTING = "setting."  # before the name of a setting of the engine's own


def write(source: Path, manifest: Manifest, folder: Path, options: EngineOptions) -> None:
    """Write the repository.

    Args:
        source: the bundle; it holds a shared graph.
        manifest: the bundle's.
        folder: the repository, which need not exist.
        options: the engine that is to run it; its precision is fp32 where the bundle has that, else the first it has.

    Raises:
        FormatError: a file of the bundle is not the one that the manifest vouches for.
    """
    model = folder / NAME
    _copy(source, manifest, model / "1" / "bundle")
    files.write_bytes(model / "1" / "model.py", CODE.read_bytes())
    precisions = [graph.precision for graph in manifest.graphs if graph.form == SHARED]
    precision = Precision.FP32 if Precision.FP32 in precisions else precisions[0]
    files.write_bytes(model / "config.pbtxt", config.text(_config(replace(options, precision=precision))).encode())
    labels = {record.task.name: list(record.task.labels) for record in manifest.tasks}
    files.write_bytes(model / "labels.json", (json.dumps(labels, indent=2, ensure_ascii=False) + "\n").encode())
    for name, value in (("image", _gray(manifest)), ("task", manifest.tasks[0].task.name.encode())):
        files.write_bytes(model / "warmup" / name, struct.pack("<I", len(value)) + value)


def _config(options: EngineOptions) -> Message:
    said = {"engine": options.engine, "precision": str(options.precision), "threads": str(options.threads)}
    said |= {f"{SETTING}{name}": value for name, value in options.settings.items()}
    given = {
        name: {"key": name, "value": {"data_type": config.Word("TYPE_STRING"), "dims": [1], "input_data_file": name}}
        for name in ("image", "task")
    }
    return {
        "name": NAME,
        "backend": "python",
        "max_batch_size": BATCH,
        "input": [config.tensor("image", "STRING", [1]), config.tensor("task", "STRING", [1])],
        "output": [
            config.tensor("logits", "FP32", [-1]),
            config.tensor("label", "STRING", [1]),
            config.tensor("probability", "FP32", [1]),
        ],
        "instance_group": [config.instance(options.device)],
        "dynamic_batching": config.queue(),
        "parameters": [{"key": name, "value": {"string_value": value}} for name, value in said.items()],
        "model_warmup": [
            {"name": f"{rows} rows", "batch_size": rows, "inputs": list(given.values())} for rows in (1, BATCH)
        ],
    }


def _copy(source: Path, manifest: Manifest, folder: Path) -> None:
    """Copy what shared graphs need, each file compared with its hash."""
    graphs = tuple(graph for graph in manifest.graphs if graph.form == SHARED)
    named = {graph.file for graph in graphs}
    for graph in graphs:
        files.write_bytes(folder / graph.file, bundle.read_graph(source, graph))
    for record in manifest.tasks:
        bundle.read_task(source, manifest, record)
        files.write_bytes(folder / record.file, files.read_regular(source / record.file))
    parity = tuple(entry for entry in manifest.parity if entry.graph in named)
    bundle.write_manifest(folder, replace(manifest, graphs=graphs, parity=parity))


def _gray(manifest: Manifest) -> bytes:
    """Return a PNG of the size that the backbone takes."""
    from PIL import Image

    height, width = manifest.preprocess.size
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (128, 128, 128)).save(stream, "PNG")
    return stream.getvalue()
