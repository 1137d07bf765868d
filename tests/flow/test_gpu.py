"""The path on an NVIDIA GPU: `make test-gpu` runs it where there is one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from adaptertune_deploy.core.bundle.folder import read_manifest
from tests.flow.conftest import run_atd

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]
BACKBONE = "vit_pico_patch8_64.atd_formula"


def test_train_export_and_predict_on_cuda_agree_with_the_cpu(tmp_path: Path) -> None:
    trained = run_atd(
        tmp_path, "train", "--dataset", "digits", "--backbone", BACKBONE, "--device", "cuda", "--epochs", "3", "--json"
    )
    facts = json.loads(trained.stdout)
    assert facts["recipe"]["precision"] == "bf16"
    assert facts["adapter"]["top1"] > 0.95
    assert facts["proofs"]["start_images"] == 8
    run_atd(tmp_path, "export", "--merge", "--device", "cuda")
    manifest = read_manifest(tmp_path / "bundle")
    assert len(manifest.parity) == 2
    for parity in manifest.parity:
        assert parity.provider == "CUDAExecutionProvider"
        assert parity.max_abs < 1e-4
    images = sorted((tmp_path / "adapters" / "digits" / "samples").iterdir())
    cuda, cpu = (
        json.loads(run_atd(tmp_path, "predict", *images, "--json", "--device", device).stdout)
        for device in ("cuda", "cpu")
    )
    for one, other in zip(cuda, cpu, strict=True):
        assert one["top"][0]["label"] == other["top"][0]["label"]
        assert abs(one["top"][0]["probability"] - other["top"][0]["probability"]) < 1e-4
