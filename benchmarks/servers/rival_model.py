"""One task's ONNX model for Triton's Python backend: JPEG in, logits out.

It stands for Triton's ONNX Runtime backend, whose library no Python package holds, with preprocessing before it. It
prepares images by the code that training used, runs what Triton batched in one run of the onnxruntime package, and is a
process of its own, as every model of that backend is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as triton

from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.images.preprocess import preprocess


class TritonPythonModel:
    """What the backend calls, by these names (github.com/triton-inference-server/python_backend)."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the model that lies beside this file."""
        folder = Path(args["model_repository"]) / args["model_version"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(json.loads(args["model_config"])["parameters"]["threads"]["string_value"])
        # Ten sessions that spin on the same cores slow one another down.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
        said = self._session.get_modelmeta().custom_metadata_map
        self._spec = graph_facts.from_metadata(said, "model.onnx").preprocess

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer the requests that Triton batched."""
        images = [self._images(request) for request in requests]
        (logits,) = self._session.run(["logits"], {"images": np.concatenate(images)})
        ends = np.cumsum([len(one) for one in images])[:-1]
        return [
            triton.InferenceResponse([triton.Tensor("logits", np.ascontiguousarray(rows))])
            for rows in np.split(logits, ends)
        ]

    def _images(self, request: Any) -> Any:
        encoded = triton.get_input_tensor_by_name(request, "image").as_numpy().reshape(-1)
        return np.stack([preprocess(one, self._spec) for one in encoded])
