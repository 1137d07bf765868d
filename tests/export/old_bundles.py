"""A bundle of format version 1, made of today's: the layout and the graphs that releases before version 2 wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import GraphRecord
from adaptertune_deploy.core.storage import files

GOLDEN = Path(__file__).parents[1] / "device" / "golden"
OLD_PARITY = {
    "images": 32,
    "max_abs": 2e-6,
    "mean_abs": 1e-7,
    "cosine": 1.0,
    "top1_agreement": 1.0,
    "tolerance": 1.2e-4,
    "provider": "CPUExecutionProvider",
}


def old_graph(data: bytes) -> bytes:
    """Return a graph as version 1 had it: facts of version 1 and, for the shared form, the heads inside."""
    model = onnx.load_from_string(data)
    (entry,) = model.metadata_props
    facts = json.loads(entry.value)
    entry.value = json.dumps(facts | {"format_version": 1})
    if facts["task"] is None:
        _put_heads_in(model.graph, facts["backbone"]["features"])
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _put_heads_in(graph: Any, features: int) -> None:
    """Add logits = features[:, None] @ head.weight[task] + head.bias[task], as torch's exporter spelled it."""
    graph.input.append(helper.make_tensor_value_info("head.weight", TensorProto.FLOAT, ["T", features, "C"]))
    graph.input.append(helper.make_tensor_value_info("head.bias", TensorProto.FLOAT, ["T", "C"]))
    graph.initializer.append(numpy_helper.from_array(np.array([1], dtype=np.int64), "head_axis"))
    for node in graph.node:  # the name was another one
        node.output[:] = ["select" if name == "features" else name for name in node.output]
    graph.node.extend(
        [
            helper.make_node("Unsqueeze", ["select", "head_axis"], ["unsqueeze"]),
            helper.make_node("Gather", ["head.weight", "task"], ["index_select_1"]),
            helper.make_node("MatMul", ["unsqueeze", "index_select_1"], ["matmul"]),
            helper.make_node("Squeeze", ["matmul", "head_axis"], ["squeeze"]),
            helper.make_node("Gather", ["head.bias", "task"], ["index_select_2"]),
            helper.make_node("Add", ["squeeze", "index_select_2"], ["logits"]),
        ]
    )
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", "C"]))


def downgrade(folder: Path) -> Path:
    """Make a bundle of version 1 of one of today's, in place."""
    manifest = bundle.read_manifest(folder)
    document = json.loads((folder / bundle.MANIFEST_NAME).read_text())
    graphs = {graph.task: _old_record(folder, graph) for graph in manifest.graphs}
    del document["graphs"], document["parity"]
    document["format_version"] = 1
    document["shared"] = graphs.get(None)
    document["versions"] = {"onnxruntime": "1.20.0"}
    for record in document["tasks"]:
        name = record["task"]["name"]
        record |= {"merged": graphs.get(name), "shared_parity": OLD_PARITY, "merged_parity": None}
    (folder / bundle.MANIFEST_NAME).write_text(json.dumps(document))
    return folder


def _old_record(folder: Path, graph: GraphRecord) -> dict[str, object]:
    data = old_graph(bundle.read_graph(folder, graph))
    (folder / graph.file).unlink()
    sha256 = files.sha256_bytes(data)
    name = f"backbone-{sha256[:8]}.onnx" if graph.task is None else f"merged/{graph.task}-{sha256[:8]}.onnx"
    files.write_bytes(folder / name, data)
    facts = {"file": name, "sha256": sha256, "precision": "fp32", "opset": graph.opset, "ir_version": graph.ir_version}
    return dict(facts)
