"""The model `adaptertune` for Triton's Python backend: requests of any mixture of tasks, one run of one graph.

`atd export --target triton` copies this file into the repository. The environment of the backend needs
adaptertune-deploy with an engine; see README.md beside the repository.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from adaptertune_deploy.core.errors import AtdError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.serve.mixed_requests import Answered, Asked, MixedRequests
from adaptertune_deploy.serve.sessions.session import open_session

SETTING = "setting."  # before the name of a setting of the engine's own, among the parameters of config.pbtxt


class TritonPythonModel:
    """What the backend calls, by these names (github.com/triton-inference-server/python_backend)."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the bundle that lies beside this file, on the device that config.pbtxt names."""
        import triton_python_backend_utils

        self._triton: Any = triton_python_backend_utils  # there is such a module in Triton's processes only
        given = json.loads(args["model_config"])["parameters"]
        said = {name: entry["string_value"] for name, entry in given.items()}
        device = f"cuda:{args['model_instance_device_id']}" if args["model_instance_kind"] == "GPU" else "cpu"
        settings = {name.removeprefix(SETTING): value for name, value in said.items() if name.startswith(SETTING)}
        options = EngineOptions(said["engine"], device, Precision(said["precision"]), int(said["threads"]), settings)
        folder = Path(args["model_repository"]) / args["model_version"] / "bundle"
        self._requests = MixedRequests(open_session(folder, form="shared", options=options))

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer the requests that Triton batched."""
        return [self._response(found) for found in self._requests.answer([self._asked(one) for one in requests])]

    def finalize(self) -> None:
        """Release the engine."""
        self._requests.close()

    def _asked(self, request: Any) -> Asked:
        images, tasks = (
            self._triton.get_input_tensor_by_name(request, name).as_numpy().reshape(-1).tolist()
            for name in ("image", "task")
        )
        return Asked(tuple(images), tuple(name.decode(errors="replace") for name in tasks))

    def _response(self, found: Answered | AtdError) -> Any:
        if isinstance(found, AtdError):
            kind = self._triton.TritonError
            return self._triton.InferenceResponse(error=kind(str(found), kind.INVALID_ARG))
        labels = np.array([[label.encode()] for label in found.labels], dtype=np.object_)
        values = {"logits": found.logits, "label": labels, "probability": found.probabilities[:, None]}
        return self._triton.InferenceResponse([self._triton.Tensor(name, value) for name, value in values.items()])
