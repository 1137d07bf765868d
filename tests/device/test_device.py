"""What a device does with a bundle: run it, serve it, take one more task; without torch, timm and onnx.

The bundle and torch's logits are files that tests/device/make_golden.py made. The commands run in processes that can't
import the training side even where it is installed.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.core.bundle.publish import add_task
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.core.storage import tensors
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.options import ON_CPU
from adaptertune_deploy.serve.sessions.session import Session, open_session

GOLDEN = Path(__file__).parent / "golden"
CLASSES = {"birds": 3, "cars": 5, "trees": 4}  # cars is a head only
BLOCKED = ("torch", "torchvision", "timm", "onnx", "onnxscript", "sklearn", "scipy", "matplotlib")
BLOCK = f"import sys; sys.modules.update(dict.fromkeys({BLOCKED}))"


@pytest.fixture(scope="module")
def expected() -> dict[str, Array]:
    data = (GOLDEN / "logits.safetensors").read_bytes()
    return tensors.unpack(
        data, {**{name: (4, count) for name, count in CLASSES.items()}, "cars-adapter": (4, 5)}, "golden"
    )


@pytest.fixture
def pixels() -> Array:
    spec = read_manifest(GOLDEN / "bundle").preprocess
    return np.stack([preprocess.preprocess(path.read_bytes(), spec) for path in sorted((GOLDEN / "images").iterdir())])


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / "bundle", tmp_path / "bundle"))


def answers(session: Session, pixels: Array, rows: list[tuple[int, str]]) -> list[Array]:
    names = [task.name for task in session.tasks.values()]
    image = np.array([row[0] for row in rows], dtype=np.int64)
    task = np.array([names.index(row[1]) for row in rows], dtype=np.int64)
    return session.run(pixels, image, task)


@pytest.mark.parametrize("form", ["shared", "merged"])
def test_both_forms_give_torchs_logits(form: str, pixels: Array, expected: dict[str, Array]) -> None:
    session = open_session(GOLDEN / "bundle", form=form, options=ON_CPU)
    rows = [(image, task) for image in range(4) for task in ("birds", "cars")]
    for (image, task), logits in zip(rows, answers(session, pixels, rows), strict=True):
        assert logits.shape == (CLASSES[task],)
        np.testing.assert_allclose(logits, expected[task][image], atol=1e-4)
    session.close()


@pytest.mark.parametrize(("ship", "rank", "wanted"), [(None, 0, "cars"), ("adapter", 4, "cars-adapter")])
def test_either_candidate_may_be_added(
    bundle: Path, pixels: Array, expected: dict[str, Array], ship: str | None, rank: int, wanted: str
) -> None:
    record = add_task(bundle, GOLDEN / "adapters" / "cars", ship=ship)
    assert record.task.adapter.rank == rank
    session = open_session(bundle, form="shared", options=ON_CPU)
    for image, logits in enumerate(answers(session, pixels, [(image, "cars") for image in range(4)])):
        np.testing.assert_allclose(logits, expected[wanted][image], atol=1e-4)
    session.close()


def test_an_added_task_rides_in_one_batch_with_the_others(
    bundle: Path, pixels: Array, expected: dict[str, Array]
) -> None:
    add_task(bundle, GOLDEN / "adapters" / "trees")
    session = open_session(bundle, ["trees", "birds", "cars"], options=ON_CPU)
    generator = np.random.default_rng(0)
    rows = [(int(generator.integers(4)), str(generator.choice(list(CLASSES)))) for _ in range(32)]
    mixed = answers(session, pixels, rows)
    for row, logits in zip(rows, mixed, strict=True):
        (alone,) = answers(session, pixels[row[0] : row[0] + 1], [(0, row[1])])
        np.testing.assert_allclose(logits, alone, atol=1e-5)
        np.testing.assert_allclose(logits, expected[row[1]][row[0]], atol=1e-4)
    session.close()


def blocked(*arguments: str | Path) -> list[str]:
    """Return the command line of atd in a process that can't import the training side."""
    code = f"{BLOCK}; from adaptertune_deploy.cli.main import run; run()"
    return [sys.executable, "-c", code, *map(str, arguments)]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(blocked(*arguments), capture_output=True, text=True, timeout=120)


def test_help_works() -> None:
    done = run("--help")
    assert done.returncode == 0
    for command in ("train", "export", "serve", "predict", "add", "evaluate", "quickstart"):
        assert command in done.stdout


def test_add_and_predict_work(bundle: Path, expected: dict[str, Array]) -> None:
    added = run("add", GOLDEN / "adapters" / "trees", "--bundle", bundle, "--json")
    assert added.returncode == 0, added.stderr
    images = sorted((GOLDEN / "images").iterdir())
    done = run("predict", *images, "--bundle", bundle, "--adapters", "trees", "--json", "--top-k", "1")
    assert done.returncode == 0, done.stderr
    labels = [answer["top"][0]["label"] for answer in json.loads(done.stdout)]
    assert labels == [f"trees {index}" for index in expected["trees"].argmax(axis=1)]


def test_serve_answers(bundle: Path, expected: dict[str, Array]) -> None:
    command = blocked("serve", "--bundle", bundle, "--port", "0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found is not None, line
        request = urllib.request.Request(
            f"{found[0]}/v1/predict?tasks=cars,birds", (GOLDEN / "images/2.png").read_bytes()
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            document = json.load(answer)
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    tasks = document["images"][0]["tasks"]
    for task in ("cars", "birds"):
        logits = expected[task][2].astype(np.float64)
        probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        assert [label["index"] for label in tasks[task]] == np.argsort(-logits).tolist()
        np.testing.assert_allclose(
            [label["probability"] for label in tasks[task]], np.sort(probabilities)[::-1], atol=1e-5
        )


def test_a_command_of_the_training_side_says_what_to_install() -> None:
    done = run("train", "--dataset", "digits")
    assert done.returncode == 1
    assert "pip install 'adaptertune-deploy[train]'" in done.stderr
    assert "Traceback" not in done.stderr
