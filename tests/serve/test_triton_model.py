"""The model as Triton's backend calls it, over a stand-in for the backend's own module.

tests/export/targets/triton/test_server.py runs it in the real server.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.engines.options import ON_CPU
from adaptertune_deploy.export.targets.triton import shared
from tests.export.targets.triton.repository import GOLDEN, copy_bundle, parse

IMAGES = [path.read_bytes() for path in sorted((GOLDEN / "images").iterdir())]


class Tensor:
    def __init__(self, name: str, value: Any) -> None:
        self.name, self.value = name, value

    def as_numpy(self) -> Any:
        return self.value


class Response:
    def __init__(self, output_tensors: list[Tensor] | None = None, error: str | None = None) -> None:
        self.values = {tensor.name: tensor.value for tensor in output_tensors or []}
        self.error = error


class TritonError(str):
    INVALID_ARG = 1

    def __new__(cls, message: str, code: int) -> TritonError:
        assert code == cls.INVALID_ARG
        return super().__new__(cls, message)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the model, initialised as Triton does it, out of the repository's own model.py."""
    backend = ModuleType("triton_python_backend_utils")
    vars(backend).update(
        Tensor=Tensor,
        InferenceResponse=Response,
        TritonError=TritonError,
        get_input_tensor_by_name=lambda request, name: request[name],
    )
    monkeypatch.setitem(sys.modules, backend.__name__, backend)
    bundle = copy_bundle(tmp_path)
    shared.write(bundle, read_manifest(bundle), tmp_path / "shared", ON_CPU)
    place = tmp_path / "shared" / "adaptertune"
    spec = importlib.util.spec_from_file_location("model", place / "1" / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    parameters = {
        entry["key"][0]: {"string_value": entry["value"][0]["string_value"][0]}
        for entry in parse((place / "config.pbtxt").read_text())["parameters"]
    }
    made = module.TritonPythonModel()
    made.initialize(
        {
            "model_config": json.dumps({"parameters": parameters}),
            "model_repository": str(place),
            "model_version": "1",
            "model_instance_kind": "CPU",
            "model_instance_device_id": "0",
        }
    )
    yield made
    made.finalize()


def request(images: list[bytes], tasks: list[str]) -> dict[str, Tensor]:
    values = {"image": images, "task": [task.encode() for task in tasks]}
    return {name: Tensor(name, np.array(value, dtype=np.object_)[:, None]) for name, value in values.items()}


def test_answers_are_torchs(model: Any) -> None:
    expected = load_file(GOLDEN / "logits.safetensors")
    one, two, bad = model.execute(
        [request(IMAGES[:2], ["cars", "birds"]), request(IMAGES[2:3], ["birds"]), request(IMAGES[:1], ["bird"])]
    )
    np.testing.assert_allclose(one.values["logits"][0], expected["cars"][0], atol=1e-4)
    np.testing.assert_allclose(one.values["logits"][1, :3], expected["birds"][1], atol=1e-4)
    np.testing.assert_allclose(two.values["logits"], expected["birds"][2:3], atol=1e-4)
    assert two.values["label"].tolist() == [[f"birds {expected['birds'][2].argmax()}".encode()]]
    assert two.values["probability"].shape == (1, 1)
    assert bad.error == "no task 'bird', only birds, cars. Did you mean 'birds'?"
    assert bad.values == {}
