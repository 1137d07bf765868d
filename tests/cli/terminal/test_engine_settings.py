from __future__ import annotations

from adaptertune_deploy.cli.terminal.engine_settings import describe
from adaptertune_deploy.engines.table import ENGINES


def test_every_engine_and_setting_is_described() -> None:
    described = {name: (text, settings) for name, text, settings in describe()}
    assert list(described) == list(ENGINES)
    text, settings = described["onnxruntime"]
    assert text == "ONNX Runtime: the CPU and NVIDIA GPUs"
    assert settings[0].meaning.startswith("Execution provider")
    text, settings = described["openvino"]
    assert text == "OpenVINO: the CPU, makes bf16 of fp32 graphs"
    assert [held.name for held in settings] == ["hint", "streams", "rest"]


def test_settings_that_two_engines_share_are_described_once() -> None:
    described = {name: (text, settings) for name, text, settings in describe()}
    assert "cuda_graphs" in {setting.name for setting in described["tensorrt"][1]}
    assert described["tensorrt-rtx"] == ("TensorRT-RTX: NVIDIA GPUs; settings of tensorrt", [])
