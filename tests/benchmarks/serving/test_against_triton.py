"""Both servers hold the same tasks, and each answers as the bundle does without a server before it is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.servers.tritonserver import NoTritonError, make_backends
from benchmarks.serving.against_triton import AgainstTriton
from benchmarks.serving.asked import rows

GOLDEN = Path(__file__).parents[2] / "device" / "golden"


def test_both_are_measured(tmp_path: Path) -> None:
    try:
        make_backends(tmp_path / "tried")
    except NoTritonError as error:
        pytest.skip(str(error))
    images = [path.read_bytes() for path in sorted((GOLDEN / "images").iterdir())]
    measure = AgainstTriton(rows(GOLDEN / "bundle", images), 0.05)
    with measure.opened(GOLDEN / "bundle", tmp_path, threads=1):
        measure.round()
    facts = measure.facts()
    ours, theirs = facts["servers"]["atd"], facts["servers"]["triton"]
    assert facts["tasks"] == 2
    ratio = ours["images_per_s"]["median"] / theirs["images_per_s"]["median"]
    assert facts["images_per_s"]["median"] == pytest.approx(ratio, rel=1e-3)
    for found in (ours, theirs):
        assert found["half_p99_ms"]["low"] <= found["half_p99_ms"]["high"]
        assert found["memory_mb"] > 20
    assert set(facts["triton_runs"]) == {"onnxruntime", "nvidia-pytriton"}
    assert facts["sessions_alone_mb"] > 20
