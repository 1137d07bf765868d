"""benchmarks.serving.kept_answers on the smallest network: all three are measured, and a known answer is one."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.inference import bank
from benchmarks.serving import kept_answers


def test_the_command_measures_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = bank.export("vit_pico_patch8_64")
    monkeypatch.setattr(kept_answers, "export", lambda model: graph)
    monkeypatch.setattr(kept_answers, "PICTURES", {"JPEG of 40 x 30": (40, 30)})
    target = tmp_path / "results" / "kept.json"
    kept_answers.main(["--side", "64", "--rounds", "5", "--cache", "1", "--json", str(target)])
    data = json.loads(target.read_text())
    assert json.loads(capsys.readouterr().out) == data
    assert list(data["images"]) == ["JPEG of 40 x 30", "pixels of 64 x 64"]
    for kind in data["images"].values():
        for name in ("nothing_kept_ms", "unknown_ms", "known_ms"):
            assert kind[name]["count"] == 5
            assert 0 < kind[name]["low"] <= kind[name]["p50"] <= kind[name]["high"]


def test_requests_differ_in_bytes_and_not_in_what_they_show() -> None:
    pictures = kept_answers.of_pictures(kept_answers.picture((40, 30)))
    (_, first, _), (_, second, _) = next(pictures), next(pictures)
    assert first != second
    shown = [np.asarray(Image.open(io.BytesIO(data))) for data in (first, second)]
    np.testing.assert_array_equal(*shown)
    pixels = kept_answers.of_pixels(8)
    assert next(pixels)[1] != next(pixels)[1]
