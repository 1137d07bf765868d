"""Both repositories in NVIDIA's own tritonserver, asked by NVIDIA's own client.

The server has no ONNX Runtime backend; see onnxruntime_backend.py.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as client
from safetensors.numpy import load_file
from tritonclient.utils import InferenceServerException

from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.options import ON_CPU
from adaptertune_deploy.export.targets.triton import target
from tests.export.targets.triton.repository import GOLDEN, copy_bundle
from tests.tritonserver import make_backends, tritonserver

CLASSES = {"birds": 3, "cars": 5}
IMAGES = [path.read_bytes() for path in sorted((GOLDEN / "images").iterdir())]


@pytest.fixture(scope="module")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of backends: the real one for Python, and one that stands for ONNX Runtime's."""
    folder = make_backends(tmp_path_factory.mktemp("backends"))
    (folder / "onnxruntime").mkdir()
    shutil.copyfile(Path(__file__).with_name("onnxruntime_backend.py"), folder / "onnxruntime" / "model.py")
    return folder


@pytest.fixture(scope="module")
def server(backends: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[client.InferenceServerClient]:
    """Start tritonserver with both repositories of the golden bundle."""
    folder = tmp_path_factory.mktemp("triton")
    target.write(copy_bundle(folder), folder / "triton", ON_CPU)
    repositories = [folder / "triton" / name for name in ("shared", "merged")]
    with (
        tritonserver(backends, repositories, folder / "log") as address,
        client.InferenceServerClient(address, concurrency=8) as asking,
    ):
        yield asking


@pytest.fixture(scope="module")
def expected() -> dict[str, Array]:
    """Return torch's logits: task -> [images, classes]."""
    return {name: logits for name, logits in load_file(GOLDEN / "logits.safetensors").items() if name in CLASSES}


def text(name: str, values: list[bytes]) -> client.InferInput:
    found = client.InferInput(name, [len(values), 1], "BYTES")
    found.set_data_from_numpy(np.array(values, dtype=np.object_)[:, None])
    return found


def ask(server: client.InferenceServerClient, rows: list[tuple[int, str]]) -> client.InferResult:
    images, tasks = [IMAGES[image] for image, _ in rows], [task.encode() for _, task in rows]
    return server.infer("adaptertune", [text("image", images), text("task", tasks)])


def counts(server: client.InferenceServerClient) -> tuple[int, int]:
    """Return how many rows and how many runs the server has counted."""
    (model,) = server.get_inference_statistics("adaptertune")["model_stats"]
    return model["inference_count"], model["execution_count"]


def until(condition: Callable[[], bool]) -> None:
    """Return when a condition holds."""
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("the condition never held")


def test_the_warm_up_has_run_before_the_server_is_ready(server: client.InferenceServerClient) -> None:
    assert counts(server) == (1 + 32, 2)


def test_one_batch_mixes_tasks(server: client.InferenceServerClient, expected: dict[str, Array]) -> None:
    rows = [(image, task) for image in range(len(IMAGES)) for task in ("cars", "birds")]
    before = counts(server)
    found = ask(server, rows)
    logits, labels = found.as_numpy("logits"), found.as_numpy("label")
    assert logits.shape == (len(rows), max(CLASSES.values()))
    for row, (image, task) in enumerate(rows):
        wanted = expected[task][image]
        np.testing.assert_allclose(logits[row, : len(wanted)], wanted, atol=1e-4)
        assert (logits[row, len(wanted) :] == -np.inf).all()
        assert labels[row, 0].decode() == f"{task} {wanted.argmax()}"
        shares = np.exp(wanted - wanted.max())
        assert found.as_numpy("probability")[row, 0] == pytest.approx(shares.max() / shares.sum(), abs=1e-4)
    expected_counts = (before[0] + len(rows), before[1] + 1)
    until(lambda: counts(server) == expected_counts)  # a server may answer before it counts


def test_requests_that_come_together_are_each_answered(
    server: client.InferenceServerClient, expected: dict[str, Array]
) -> None:
    rows = [(number % len(IMAGES), ("birds", "cars")[number % 3 % 2]) for number in range(24)]
    waiting = [
        server.async_infer("adaptertune", [text("image", [IMAGES[image]]), text("task", [task.encode()])])
        for image, task in rows
    ]
    for (image, task), answer in zip(rows, waiting, strict=True):
        logits = answer.get_result().as_numpy("logits")
        np.testing.assert_allclose(logits, expected[task][image][None], atol=1e-4)


@pytest.mark.parametrize(
    ("image", "task", "said"),
    [(b"no image", b"birds", "the data is no"), (IMAGES[0], b"bird", "no task 'bird', only birds, cars. Did you mean")],
)
def test_what_is_wrong_is_said(server: client.InferenceServerClient, image: bytes, task: bytes, said: str) -> None:
    with pytest.raises(InferenceServerException, match=said):
        server.infer("adaptertune", [text("image", [image]), text("task", [task])])


@pytest.mark.parametrize("task", CLASSES)
def test_plain_models_answer_with_labels(
    server: client.InferenceServerClient, expected: dict[str, Array], task: str
) -> None:
    spec = read_manifest(GOLDEN / "bundle").preprocess
    pixels = np.stack([preprocess.preprocess(image, spec) for image in IMAGES])
    images = client.InferInput("images", list(pixels.shape), "FP32")
    images.set_data_from_numpy(pixels)
    logits = server.infer(task, [images]).as_numpy("logits")
    np.testing.assert_allclose(logits, expected[task], atol=1e-4)
    asked = client.InferRequestedOutput("logits", class_count=1)
    named = server.infer(task, [images], outputs=[asked]).as_numpy("logits")
    for row, wanted in zip(named, expected[task], strict=True):
        _, index, label = row[0].decode().split(":")
        assert (int(index), label) == (wanted.argmax(), f"{task} {wanted.argmax()}")
