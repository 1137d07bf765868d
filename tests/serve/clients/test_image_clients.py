"""NVIDIA's image_client.py and ensemble_image_client.py, unchanged.

They lie in src/python/examples of github.com/triton-inference-server/client; ATD_TRITON_EXAMPLES names a folder that
holds them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.serve.clients.conftest import expected
from tests.serve.fakes import make_adapters, reference
from tests.serve.grpc.conftest import Called

FOLDER = os.environ.get("ATD_TRITON_EXAMPLES", "")
LINE = re.compile(r"^ +(-?[\d.]+) \((\d+)\) = (.*)$", re.MULTILINE)


def run(name: str, *words: str | Path) -> list[tuple[float, int, str]]:
    """Run a client; return the value, the index and the label of every line that it prints."""
    script = Path(FOLDER) / name
    if not script.is_file():
        pytest.skip(f"ATD_TRITON_EXAMPLES names no folder with {name} of github.com/triton-inference-server/client")
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("PASS")
    return [(float(value), int(index), label) for value, index, label in LINE.findall(done.stdout)]


def addresses(both: Called) -> dict[str, list[str]]:
    return {
        "http": ["-i", "HTTP", "-u", both.http.base_url.netloc.decode()],
        "grpc": ["-i", "gRPC", "-u", both.target],
    }


def best(logits: np.ndarray, task: str, count: int) -> list[tuple[float, int, str]]:
    return [(float(logits[index]), int(index), f"{task} {index}") for index in np.argsort(-logits)[:count]]


def check(found: Sequence[tuple[float, int, str]], wanted: Sequence[tuple[float, int, str]]) -> None:
    assert [line[1:] for line in found] == [line[1:] for line in wanted]
    np.testing.assert_allclose([line[0] for line in found], [line[0] for line in wanted], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("wire", ["http", "grpc"])
def test_ensemble_image_client_sends_encoded_images(both: Called, images: list[Path], wire: str) -> None:
    found = run("ensemble_image_client.py", "-m", "flowers", "-c", "2", *addresses(both)[wire], images[0].parent)
    check(found, [line for image in images for line in best(expected(image.read_bytes(), 1), "flowers", 2)])


@pytest.mark.parametrize(
    ("wire", "more"), [("http", []), ("http", ["-a"]), ("grpc", []), ("grpc", ["-a"]), ("grpc", ["--streaming"])]
)
def test_image_client_sends_pixels_of_its_own_preprocessing(
    both: Called, images: list[Path], wire: str, more: list[str]
) -> None:
    if wire == "http" and find_spec("attrdict") is None:
        pytest.skip("image_client.py needs the package attrdict over HTTP")
    words = ["-m", "pets__tensor", "-c", "2", "-s", "INCEPTION", *addresses(both)[wire], *more]
    wanted = []
    for image in images:
        resized = Image.open(image).convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)
        pixels = (np.asarray(resized, dtype=np.float32) / 127.5 - 1).transpose(2, 0, 1)
        wanted += best(reference(pixels, make_adapters()[0]), "pets", 2)
    found = run("image_client.py", *words, images[0].parent)
    check(sorted(found) if more else found, sorted(wanted) if more else wanted)
