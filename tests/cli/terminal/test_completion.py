"""Completion as a shell asks for it: environment in, words out."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptertune_deploy.cli.terminal import completion
from tests.cli.conftest import Atd
from tests.cli.started import imported_by

Complete = dict[str, list[str]]
CASES: Complete = {
    "train --dataset p": ["pcam", "pets", "photos.csv", "photos/"],
    "train --dataset photos": ["photos.csv", "photos/"],
    "train --dataset cif": ["cifar10", "cifar100"],
    "train --dataset photos/": ["photos/cats/", "photos/dogs/"],
    "train --device c": ["cpu", "cuda", "cuda:0"],
    "train --placement ": ["all", "last:4", "every:2", "3,7,11"],
    "train --log ": ["csv", "tensorboard", "csv,tensorboard"],
    "train --precision b": ["bf16"],
    "train --ship a": ["auto", "adapter"],
    "train --class-weights ": ["balanced", "none"],
    "evaluate --ship ": ["auto", "adapter", "head", "full"],
    "evaluate --adapter b": ["birds"],
    "evaluate --split t": ["train", "test"],
    "export --engine onnx": ["onnxruntime"],
    "export --device cuda": ["cuda", "cuda:0"],
    "export --target ": ["triton"],
    "export --adapters ": ["birds", "cars", "trees"],
    "export --adapters birds,": ["birds,cars", "birds,trees"],
    "serve --adapters ": ["birds", "cars"],
    "serve --bundle elsewhere --adapters ": [],
    "serve --adapters cars,b": ["cars,birds"],
    "serve --form s": ["shared"],
    "serve --precision ": ["fp32", "fp16", "bf16", "int8", "int8-qdq"],
    "serve --engine onnxruntime -E ": [
        *(f"provider={name}" for name in ("auto", "cpu", "cuda", "tensorrt")),
        "cuda_graphs=true",
        "cuda_graphs=false",
        "max_rows=",
    ],
    "serve --engine openvino -E ": ["hint=latency", "hint=throughput", "streams=", "rest=fp32", "rest=bf16"],
    "serve --engine none -E ": [],
    "predict images/0.png --engine-option provider=c": ["provider=cpu", "provider=cuda"],
    "predict images/0.png --adapters c": ["cars"],
    "add ": ["adapters/birds", "adapters/cars", "adapters/trees"],
    "add adapters/t": ["adapters/trees"],
    "inspect b": ["bundle/"],
    "inspect bundle/b": ["bundle/backbone-fp32-ee7774d6.onnx"],
    "bench b": ["bundle/"],
    "bench --precision fp32,b": ["fp32,bf16"],
    "tune b": ["bundle/"],
    "tune --engine onnxruntime,o": ["onnxruntime,openvino"],
    "tune --allow bf16,int8": ["bf16,int8", "bf16,int8-qdq"],
    "data ": ["check"],
    "data check --dataset pe": ["pets"],
    "tra": ["train"],
    "train --da": ["--dataset", "--data-dir"],
}


@pytest.fixture(autouse=True)
def _images(folder: Path) -> None:
    for name in ("photos/cats", "photos/dogs", "photos/e\x1bvil", "photos/.hidden"):
        (folder / name).mkdir(parents=True)
    for name in ("photos.csv", "photos.txt"):
        (folder / name).write_text("")


@pytest.mark.parametrize("line", CASES)
def test_bash_is_offered_values(atd: Atd, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    words = ["atd", *line.split(" ")]
    monkeypatch.setenv("_ATD_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", " ".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    done = atd()
    assert (done.code, done.err) == (0, "")
    assert sorted(done.out.split()) == sorted(CASES[line])


def test_a_damaged_bundle_offers_nothing(folder: Path) -> None:
    (folder / "bundle" / "manifest.json").write_text("{")
    (folder / "adapters" / "birds" / "adapter_config.json").unlink()
    assert completion.adapter_folders("adapters/") == ["adapters/cars", "adapters/trees"]


@pytest.mark.parametrize("line", ["train --dataset ", "serve --adapters ", "add "])
def test_nothing_heavy_is_imported(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setenv("_ATD_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"atd {line}")
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" "))))
    assert not imported_by() & {"torch", "timm", "onnx", "onnxruntime", "sklearn"}
