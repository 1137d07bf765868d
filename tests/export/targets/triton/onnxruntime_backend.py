"""Stands for Triton's ONNX Runtime backend, whose library no Python package holds: a backend written in Python.

Triton runs it under the name `onnxruntime`, so that config.pbtxt, labels and warm-up of the repository merged/ are
read by the real server; only the operator that runs model.onnx is the onnxruntime package instead of NVIDIA's library.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime
import triton_python_backend_utils as triton


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def execute(self, requests: list[Any]) -> list[Any]:
        responses = []
        for request in requests:
            images = triton.get_input_tensor_by_name(request, "images").as_numpy()
            (logits,) = self.session.run(["logits"], {"images": images})
            responses.append(triton.InferenceResponse([triton.Tensor("logits", logits)]))
        return responses
