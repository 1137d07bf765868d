from __future__ import annotations

import importlib.util
import io
from dataclasses import replace

import pytest
from PIL import Image

from adaptertune_deploy.bench import picture
from adaptertune_deploy.bench.picture import can_draw, draw_bench, lines_of
from adaptertune_deploy.bench.results import Way
from adaptertune_deploy.core.precision import Precision
from tests.bench.made import make_bench


def test_a_line_has_the_numbers_of_one_way_over_the_tasks() -> None:
    shared, merged = lines_of(make_bench(), 8)
    assert (shared.name, shared.one) == ("one backbone, fp32 on onnxruntime", True)
    assert (merged.name, merged.one) == ("N models, fp32 on onnxruntime", False)
    assert shared.tasks == merged.tasks == (1, 10)
    assert [middle for _, middle, _ in merged.milliseconds] == [80, 800]
    assert shared.milliseconds[0] == pytest.approx((144, 160, 176))
    assert (shared.megabytes, merged.megabytes) == ((100, 100), (50, 500))


def test_ways_that_differ_only_in_their_form_have_one_style() -> None:
    bench = make_bench()
    int8 = [replace(entry, way=Way(entry.way.form, "onnxruntime", Precision.INT8)) for entry in bench.ran]
    lines = list(lines_of(replace(bench, ran=(*bench.ran, *int8)), 1))
    assert [line.style for line in lines] == [0, 0, 1, 1]


def test_the_picture_is_of_the_largest_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[object] = []
    monkeypatch.setattr(picture, "draw_models", lambda lines, title, batch: drawn.extend((len(lines), title, batch)))
    draw_bench(make_bench())
    assert drawn == [2, "N models against one backbone: vit_test, 4 cores of A CPU avx2", 8]


def test_it_is_drawn_where_matplotlib_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    assert can_draw()
    with Image.open(io.BytesIO(draw_bench(make_bench()))) as image:
        assert image.format == "PNG"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not can_draw()
