"""benchmarks.precision.page: the page says what the results say, and where a target is missed."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.precision.page import PAGE, RESULTS, page, wanted

CHIP = "Chip avx2 avx512_bf16"
MACHINE = {"cores": 2, "processor": CHIP, "memory_gb": 8, "python": "3.11", "versions": {"openvino": "2026"}}
ROW = {"images": 1000, "max": 1.25, "mean": 0.125, "cosine": 0.99, "megabytes": 6.4, "p": 0.5}
INT8 = "merged, openvino int8-qdq"
ANSWERS: dict[str, Any] = {
    "machine": MACHINE,
    "rank": 8,
    "rows": {
        "merged, onnxruntime fp32": {**ROW, "same": 1000, "right": 800, "better": 0, "worse": 0},
        INT8: {**ROW, "same": 979, "right": 808, "better": 12, "worse": 4},
    },
}


def spread(median: float) -> dict[str, float]:
    return {"median": median, "low": median - 0.01, "high": median + 0.01}


TIMED = {
    "merged, onnxruntime fp32": {"milliseconds": spread(10), "ratio": spread(1), "to_plain": spread(0.9)},
    "shared, openvino bf16": {"milliseconds": spread(5), "ratio": spread(0.5), "to_plain": spread(0.45)},
    "shared, openvino int8-qdq": {"milliseconds": spread(4), "ratio": spread(0.4), "to_plain": spread(0.36)},
}
TIMING = {
    "machine": MACHINE,
    "settings": {"rounds": 40, "openings": 4, "clock": "wall", "rank": 8, "tasks": 3},
    "rows": {"deit_tiny_patch16_224, 8": TIMED},
}


def test_answers_and_what_was_wanted_of_them() -> None:
    said = page({CHIP: {"answers": ANSWERS}})
    assert f"| {INT8} | 6.4 | 1.2 | 0.12 | 0.99000 | 979 = 97.9 % | 808 = 80.8 % [78.2, 83.1] |" in said
    assert "12 better, 4 worse, p = 0.5 |" in said
    assert f"{INT8}: the same class on 97.9 % of the images, wanted 98 %, **missed**; +0.80 points of accuracy" in said
    assert said.count("**missed**") == 2
    assert "**Not run yet**: `make bench-precision-timing`, on a quiet machine." in said
    better = {**ANSWERS, "rows": {INT8: {**ANSWERS["rows"][INT8], "same": 980, "better": 5, "worse": 4}}}
    assert "**missed**" not in page({CHIP: {"answers": better}})


def test_times_and_what_was_wanted_of_them() -> None:
    said = page({CHIP: {"timing": TIMING}})
    assert "### deit_tiny_patch16_224, batch 8" in said
    assert "| shared, openvino bf16 | 5.0 | 0.450 [0.440, 0.460] | 0.500 [0.490, 0.510] | 0.48, **missed** |" in said
    assert "| shared, openvino int8-qdq | 4.0 | 0.360 [0.350, 0.370] | 0.400 [0.390, 0.410] | 0.4 |" in said
    assert f"- timing: 2 cores of {CHIP}, 8 GB; Python 3.11, openvino 2026" in said
    assert "### Answers" not in said
    assert "**Not run yet**: `make bench-precision-answers`." in said


def test_what_changed_since_is_said() -> None:
    told = page({CHIP: {"answers": ANSWERS, "timing": TIMING, "before": ["products are faster"]}})
    assert "- measured before: products are faster\n\n### Answers" in told


def test_machines_lie_side_by_side() -> None:
    fast = {"deit_tiny_patch16_224, 8": {**TIMED, "shared, openvino bf16": {**TIMED["shared, openvino bf16"]}}}
    fast["deit_tiny_patch16_224, 8"]["shared, openvino bf16"]["ratio"] = spread(0.3)
    other = {"timing": {**TIMING, "rows": fast}}
    said = page({CHIP: {"answers": ANSWERS, "timing": TIMING}, "Slab": other, "Third": {"answers": ANSWERS}})
    assert "| model, batch | graph | at most | Chip (avx512_bf16) | Slab |" in said
    assert "| deit_tiny_patch16_224, 8 | shared, openvino bf16 | 0.48 | 0.500, **missed** | 0.300 |" in said
    headings = [line for line in said.splitlines() if line.startswith("## ")]
    assert headings[3:] == ["## Chip (avx512_bf16)", "## Slab", "## Third"]


def test_what_is_promised_depends_on_model_and_batch() -> None:
    assert wanted("shared, openvino bf16", "vit_small_patch16_224", 1) == 0.55
    assert wanted("shared, openvino bf16", "deit_tiny_patch16_224", 1) is None
    assert wanted("shared, onnxruntime int8", "deit_tiny_patch16_224", 1) == 0.55
    assert wanted("merged, onnxruntime int8", "deit_tiny_patch16_224", 1) is None


def test_the_page_is_made_from_the_results() -> None:
    if RESULTS.exists():
        assert PAGE.read_text() == page(json.loads(RESULTS.read_text()))
