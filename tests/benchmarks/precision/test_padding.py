from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

if importlib.util.find_spec("openvino") is None:
    pytest.skip("OpenVINO is an extra of its own", allow_module_level=True)

from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.openvino import model as openvino_model
from adaptertune_deploy.engines.options import EngineOptions
from benchmarks.precision import padding, timing


def test_every_graph_is_timed_with_padding_and_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = timing.backbones.random_backbone("vit_pico_patch8_64")
    size, padded, said = backbone.spec.image_size, [], []
    monkeypatch.setattr(timing, "MODELS", "pico")
    monkeypatch.setattr(timing, "backbone_of", lambda name, weights: backbone)
    monkeypatch.setattr(
        timing, "_photographs", lambda data, held: np.random.default_rng(0).random((8, 3, *size), np.float32)
    )
    monkeypatch.setattr(openvino_model, "pad_tokens", padded.append)
    monkeypatch.setattr(padding, "ARMS", {"int8-qdq": EngineOptions("openvino", "cpu", Precision.INT8_QDQ, 1)})
    padding.whole_graphs(tmp_path, tmp_path, [1, 2], 3, said.append)
    rows = [line.split(" | ")[:3] for line in said[1:]]
    assert rows == [["| pico", str(batch), f"{form}, int8-qdq"] for batch in (1, 2) for form in ("shared", "merged")]
    assert len(padded) == 4 * 3  # openings of each, one in two without


def test_products_of_each_number_of_rows_are_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(padding, "ROWS", (3, 5))
    padding.rows_of_products(3)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 3", "| 5"]
