"""A real bundle on a real engine, in as few rounds as there may be."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from adaptertune_deploy.bench.budget import Budget
from adaptertune_deploy.bench.known import find_known
from adaptertune_deploy.bench.machine import describe_machine
from adaptertune_deploy.bench.setups import Setup
from adaptertune_deploy.bench.tune import Request, thread_counts, tune, untuned, usual_batch, ways
from adaptertune_deploy.bench.tuning import Tuning, find_tuning, graphs_hash, write_tuning
from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.core.errors import EngineError, UsageError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.serve.settings import FOUND_BATCH
from tests.bench.golden import give_answers
from tests.bench.planted import ticking

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


def tuned(folder: Path, request: Request) -> Tuning:
    manifest = read_manifest(folder / "bundle")
    known, _ = find_known(folder / "adapters", manifest, manifest.tasks)
    return tune(
        folder / "bundle", manifest, request, known, describe_machine(), Budget(5, clock=ticking()), lambda: NOW
    )


@pytest.mark.parametrize("form", ["shared", "merged"])
def test_a_bundle_is_tuned_and_checked_against_torch(folder: Path, form: str) -> None:
    found = tuned(folder, Request(form, ("onnxruntime",), threads=(1,), batches=(1, 2)))
    (checked,) = found.evidence.checked
    assert (checked.images, checked.same) == (8, 8)
    assert checked.of_tolerance < 1
    assert found.evidence.left_out == ()
    assert found.evidence.final[0].batch == usual_batch() == FOUND_BATCH
    assert {entry.threads for entry in found.evidence.looked} == {0, 1}
    assert found.choice in found.evidence.final
    assert (found.form, found.measured) == (form, "2026-01-02 03:04 UTC")
    write_tuning(found)
    manifest = read_manifest(folder / "bundle")
    assert find_tuning(graphs_hash(manifest, form), describe_machine()).tuning == found


def test_other_answers_than_torchs_are_an_error_where_even_the_untuned_server_gives_them(folder: Path) -> None:
    give_answers(folder / "adapters", shift=0.1)
    with pytest.raises(EngineError, match=r"changes answers: up to 1.0e-01 from torch's logits, .* what fp32 may"):
        tuned(folder, Request("shared", ("onnxruntime",)))


def test_a_bundle_that_no_engine_runs_is_refused(folder: Path) -> None:
    manifest = read_manifest(folder / "bundle")
    with pytest.raises(UsageError, match=r"none of tensorrt runs a merged graph of this bundle in fp32, int8; "):
        ways(replace(manifest, graphs=()), Request("merged", ("tensorrt",), (Precision.INT8,)))


def test_the_untuned_server_is_tried_first(folder: Path) -> None:
    manifest = read_manifest(folder / "bundle")
    found = ways(manifest, Request("shared", ("openvino", "onnxruntime"), (Precision.BF16,)))
    assert [(way.engine, way.precision) for way in found] == [
        ("onnxruntime", Precision.FP32),
        ("openvino", Precision.FP32),
        ("openvino", Precision.BF16),
    ]


def test_the_untuned_server_is_the_usual_engine_in_fp32_whatever_is_asked_for(folder: Path) -> None:
    manifest = read_manifest(folder / "bundle")
    request = Request("shared", ("openvino",), (Precision.BF16,))
    assert untuned(manifest, request) == Setup("onnxruntime", Precision.FP32)
    assert untuned(replace(manifest, graphs=()), request) is None


@pytest.mark.parametrize(("cores", "counts"), [(1, (1,)), (2, (2, 1)), (8, (8, 4, 1))])
def test_threads_that_are_worth_a_try(cores: int, counts: tuple[int, ...]) -> None:
    assert thread_counts(cores) == counts
