from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adaptertune_deploy.cli import quickstart
from adaptertune_deploy.core.bundle import ParityReport, read_manifest
from adaptertune_deploy.core.errors import AtdError

FACTS = {
    "backbone": "vit_pico_patch8_64.atd_formula",
    "tasks": [
        {"task": "digits", "trainable": 18_762, "share": 0.0116, "head_only_top1": 0.9, "adapter_top1": 0.98,
         "max_abs": 3e-6, "latency_ms": 4.25},
        {"task": "shapes", "trainable": 18_762, "share": 0.0116, "head_only_top1": 0.5, "adapter_top1": 0.75,
         "max_abs": 2e-6, "latency_ms": 4.5},
    ],
    "merged_bytes": 13_160_000,
    "shared_bytes": 6_660_000,
    "adapter_bytes": 80_000,
    "mixed_batch_images": 16,
    "mixed_batch_right": 15,
    "seconds": 100.0,
}  # fmt: skip


def test_the_table_shows_accuracy_parity_latency_and_sizes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    quickstart._show(FACTS)
    printed = capsys.readouterr().out
    for text in ("18,762 (1.2%)", "90.0%", "98.0%", "3.0e-06", "4.2 ms", "13.2 MB", "6.66 MB", "65.8 MB", "7.3 MB"):
        assert text in printed, text
    assert "16 images of both tasks in one request, 15 of them right" in printed
    assert "atd serve --adapters digits,shapes" in printed


def test_a_bundle_without_a_parity_check_is_refused(folder: Path) -> None:
    manifest = read_manifest(folder / "bundle")
    with pytest.raises(AtdError, match="'birds' was exported without a parity check"):
        quickstart._check_agreement(manifest)
    report = ParityReport(32, 1e-6, 1e-7, 1.0, 1.0, 1e-4, "CPUExecutionProvider")
    checked = tuple(replace(record, shared_parity=report, merged_parity=report) for record in manifest.tasks)
    quickstart._check_agreement(replace(manifest, tasks=checked))
