"""benchmarks.serving.page: the page says what the results say, and where a target is missed; the picture shows them."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks import documents
from benchmarks.serving import page, picture


def spread(median: float, width: float = 0.5) -> dict[str, float]:
    return {"median": median, "low": median - width, "high": median + width}


def model(engine: float, budget: float, server: float, single: float, p99: float) -> dict[str, Any]:
    ratio = p99 / single
    return {
        "batch": 4,
        "server_batch": 2,
        "engine_per_s": {"1": spread(engine - 10), "4": spread(engine)},
        "cpu_ms": {"engine": spread(15.0), "preprocessing": spread(2.5), "beside the engine": spread(3.25)},
        "budget_per_s": spread(budget),
        "server_per_s": spread(server),
        "to_budget": spread(server / budget, 0.01),
        "to_engine": spread(server / engine, 0.01),
        "half_load": {
            moments: {
                "offered_per_s": spread(server / 2), "requests": 2400, "single_ms": spread(single), "p50_ms": 15.0,
                "p99_ms": p99 * more, "to_single": ratio * more, "to_single_resampled": spread(ratio * more, 0.1),
                "late_p99_ms": 1.0,
            }
            for moments, more in (("evenly spaced", 1), ("drawn", 2))
        },
    }  # fmt: skip


def server(rate: float, p99: float, memory: float) -> dict[str, Any]:
    times = {"full_p99_ms": spread(3 * p99), "half_p99_ms": spread(p99), "half_offered_per_s": spread(rate / 2)}
    return {"images_per_s": spread(rate), "memory_mb": memory, **times}


def way(milliseconds: float, ratio: float) -> dict[str, Any]:
    times = {"milliseconds": spread(milliseconds), "to_at_once": spread(ratio, 0.01)}
    return {**times, "cpu_ms": spread(milliseconds + 10), "cpu_to_at_once": spread(ratio, 0.01)}


FACTS: dict[str, Any] = {
    "machine": {"processor": "Chip", "cores": 2, "memory_gb": 8, "python": "3.11", "versions": {"numpy": "2.0"}},
    "settings": {"first": "deit_tiny_patch16_224", "rounds": 7, "seconds": 1.0, "clients": 16},
    "capacity": {
        "deit_tiny_patch16_224": model(120.0, 104.0, 100.0, 12.0, 24.0),
        "vit_small_patch16_224": model(40.0, 38.0, 37.0, 40.0, 90.0),
    },
    "five_tasks": {"every block": {"one request": way(60.0, 0.9), "five at once": way(66.0, 1.0)}},
    "triton": {
        "tasks": 10, "threads_a_model": 1, "triton_runs": {"onnxruntime": "1.32.0", "nvidia-pytriton": "0.7.0"},
        "images_per_s": spread(1.25, 0.05), "sessions_alone_mb": 400.0,
        "servers": {"atd": server(100.0, 40.0, 120.0), "triton": server(80.0, 90.0, 900.0)},
    },
    "many_tasks": {
        "tasks": [1, 64], "one_mb": spread(100.0), "many_mb": spread(115.0), "ratio": spread(1.15, 0.01),
        "slots": 8, "in_slots_mb": spread(105.0),
    },
}  # fmt: skip
SWAPS = {
    "tasks": 10,
    "clients": 2,
    **{
        name: {"count": 300, "low": 1.0, "p50": 2.0, "high": 3.0, "p99": 4.5, "largest": 9.0}
        for name in ("swap_ms", "swap_beside_requests_ms", "request_ms", "request_beside_swaps_ms")
    },
}


def changed(value: Any, *path: str) -> dict[str, Any]:
    facts = copy.deepcopy(FACTS)
    place: Any = facts
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return facts


def test_the_page_says_what_was_measured() -> None:
    text = page.page(FACTS, SWAPS)
    for line in (
        "| deit_tiny_patch16_224 | 120.0 [119.5, 120.5], 4 a run | 104.0 [103.5, 104.5] "
        "| 100.0 [99.5, 100.5], at most 2 a run | 0.962 [0.952, 0.972] | 0.95 | 0.833 [0.823, 0.843] |  |",
        "| vit_small_patch16_224 | 40.0 [39.5, 40.5], 4 a run | 38.0 [37.5, 38.5] | 37.0 [36.5, 37.5], at most 2 a run "
        "| 0.974 [0.964, 0.984] | 0.95 | 0.925 [0.915, 0.935] | 0.92 |",
        "| model | engine | preprocessing | beside the engine |",
        "| deit_tiny_patch16_224 | 15.00 [14.50, 15.50] | 2.50 [2.00, 3.00] | 3.25 [2.75, 3.75] |",
        "| deit_tiny_patch16_224 | evenly spaced | 2,400 | 50.0 | 12.0 [11.5, 12.5] | 15.0 | 24.0 | 2.00 [1.90, 2.10] "
        "| 2.5 |",
        "| deit_tiny_patch16_224 | drawn | 2,400 | 50.0 | 12.0 [11.5, 12.5] | 15.0 | 48.0 | 4.00 [3.90, 4.10] |  |",
        "4.3 times that time (M/D/1), so the target is for the former. A single image is that of one client that waits",
        "are asked by 16 clients at their capacity, and both at one rate, half of what the slower one gave.",
        "| images a second | 100.0 [99.5, 100.5] | 80.0 [79.5, 80.5] | 1.25 [1.20, 1.30] | at least 1 |",
        "| p99 at one rate, ms | 40.0 [39.5, 40.5] | 90.0 [89.5, 90.5] | 0.44 | at most 1 |",
        "| memory, MB | 120 | 900 | 0.13 | at most 1 |",
        "| ten sessions, no server, MB |  | 400 | 0.30 | at most 1 |",
        "| every block | one request | 60.0 [59.5, 60.5] | 0.900 [0.890, 0.910] | 70.0 [69.5, 70.5] "
        "| 0.900 [0.890, 0.910] |",
        "| 64 | 115.0 [114.5, 115.5] | 1.150 [1.140, 1.160] | 1.2 |",
        "| 64, 8 of them in the engine | 105.0 [104.5, 105.5] |  |  |",
        "| a swap beside requests | 300 | 2.0 | 4.5 | 9.0 |",
        "2 cores of Chip, 8 GB; Python 3.11, numpy 2.0",
    ):
        assert line in text.splitlines(), line
    assert "runs the onnxruntime package 1.32.0 on one thread without spinning" in text
    assert "missed" not in text


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (spread(0.94), ("capacity", "deit_tiny_patch16_224", "to_budget")),
        (spread(0.91), ("capacity", "vit_small_patch16_224", "to_engine")),
        (2.51, ("capacity", "deit_tiny_patch16_224", "half_load", "evenly spaced", "to_single")),
        (spread(0.99), ("triton", "images_per_s")),
        (spread(91.0), ("triton", "servers", "atd", "half_p99_ms")),
        (100.0, ("triton", "sessions_alone_mb")),
        (spread(1.21), ("many_tasks", "ratio")),
    ],
)
def test_what_misses_its_target_says_so(value: Any, path: tuple[str, ...]) -> None:
    assert page.page(changed(value, *path), None).count("**missed**") == 1


def test_what_was_not_measured_is_said_or_left_out() -> None:
    text = page.page(changed(None, "triton"), None)
    assert "**Not run**: `make triton-server` was not there." in text
    assert "Replacing a task" not in text


@pytest.mark.parametrize("facts", [FACTS, changed(None, "triton")], ids=["triton", "no triton"])
def test_the_picture_has_a_bar_for_every_number(facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    real = picture.picture

    def kept(size: tuple[float, float], fill: Any) -> bytes:
        return real(size, lambda figure: (fill(figure), drawn.append(figure)))

    monkeypatch.setattr(picture, "picture", kept)
    image = Image.open(io.BytesIO(picture.draw(facts)))
    assert image.format == "PNG"
    heights = [[round(bar.get_height(), 3) for bar in axes.patches] for axes in drawn[0].axes]
    for axes, found in zip(drawn[0].axes, heights, strict=True):
        assert axes.get_ylim()[0] == 0
        assert axes.get_ylim()[1] > max(found), "a bar is cut off"
    assert heights[0] == [1, 1, 0.867, 0.95, 0.833, 0.925]
    assert heights[1] == [1.25, 0.375, 2, 2.25]
    assert heights[2:] == ([] if facts["triton"] is None else [[100, 80], [120, 900]])


def test_the_command_writes_page_and_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, file in (("PAGE", "serving.md"), ("PICTURE", "serving.png")):
        monkeypatch.setattr(page, name, tmp_path / file)
    monkeypatch.setattr(documents, "read", lambda name: None)
    with pytest.raises(SystemExit, match="run make bench-serve"):
        page.main()
    monkeypatch.setattr(documents, "read", {"serve": FACTS, "swaps": SWAPS}.get)
    page.main()
    assert (tmp_path / "serving.md").read_text() == page.page(FACTS, SWAPS)
    assert (tmp_path / "serving.png").read_bytes()[:4] == b"\x89PNG"


def test_the_page_is_made_from_the_results_where_there_are_any() -> None:
    serve = documents.read("serve")
    assert page.PAGE.exists() is (serve is not None)
    if serve is not None:
        assert page.PAGE.read_text() == page.page(serve, documents.read("swaps"))
