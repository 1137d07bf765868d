"""NVIDIA's perf_analyzer over HTTP and gRPC, unchanged; `make perf-analyzer` fetches it."""

from __future__ import annotations

import base64
import csv
import json
import os
import struct
import subprocess
from pathlib import Path

import pytest

from tests.serve.grpc.conftest import Called

HOME = Path(os.environ.get("ATD_PERF_ANALYZER", Path(__file__).parents[3] / ".venv-perf"))
WIRES = {"http": ["-i", "http"], "grpc": ["-i", "grpc"], "stream": ["-i", "grpc", "--streaming", "--async"]}


@pytest.fixture(scope="module")
def encoded(images: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of input data: an element of BYTES brings its length in front, in base64 too."""
    contents = [path.read_bytes() for path in images]
    data = [{"image": {"b64": base64.b64encode(struct.pack("<I", len(one)) + one).decode()}} for one in contents]
    file = tmp_path_factory.mktemp("perf") / "images.json"
    file.write_text(json.dumps({"data": data}))
    return file


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("model", ["pets", "pets__tensor"])
def test_perf_analyzer_measures_both_models(both: Called, encoded: Path, tmp_path: Path, wire: str, model: str) -> None:
    program = HOME / "perf_analyzer"
    if not program.is_file():
        pytest.skip(f"no perf_analyzer in {HOME}; fetch it with: make perf-analyzer")
    address = both.http.base_url.netloc.decode() if wire == "http" else both.target
    before = both.service.statistics.tasks["pets", 1].success.count
    given = ["--input-data", encoded if model == "pets" else "zero"]
    load = ["-b", "2", "--request-count", "20", "--concurrency-range", "2"]
    done = subprocess.run(
        [program, "-m", model, "-u", address, *WIRES[wire], *load, *given, "-f", tmp_path / "perf.csv"],
        env={**os.environ, "LD_LIBRARY_PATH": str(HOME / "lib")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = csv.DictReader((tmp_path / "perf.csv").read_text().splitlines())
    assert float(row["Inferences/Second"]) > 0
    assert both.service.statistics.tasks["pets", 1].success.count >= before + 20
