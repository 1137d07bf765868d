from __future__ import annotations

import re
from itertools import pairwise

from prometheus_client.parser import text_string_to_metric_families

import adaptertune_deploy
from adaptertune_deploy.serve.batching.batch import BatchRecord
from adaptertune_deploy.serve.metrics import Metrics
from adaptertune_deploy.serve.statistics import Statistics, Timing
from tests.serve.fakes import served

PETS, FLOWERS = served(0, 1)

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(metrics: Metrics) -> Samples:
    """Parse the exposition: (name, sorted labels) -> value.

    prometheus_client's parser checks the whole text, but ends counters' names in `_total`, so lines are read here.
    """
    text = metrics.render().decode()
    assert list(text_string_to_metric_families(text))
    samples: Samples = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels, value = re.fullmatch(r"(\w+)(?:{(.*)})? (\S+)", line).groups()  # type: ignore[union-attr]
            samples[name, tuple(sorted(re.findall(r'(\w+)="([^"]*)"', labels or "")))] = float(value)
    return samples


def nv(name: str, model: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return name, tuple(sorted({"model": model, "version": "1", **labels}.items()))


def test_every_name_is_there_at_zero_from_the_start() -> None:
    samples = read(Metrics(Statistics(served(0, 1))))
    for model in ("pets", "flowers"):
        for name in ("request_success", "count", "exec_count", "pending_request_count"):
            assert samples[nv(f"nv_inference_{name}", model)] == 0
        for part in ("request", "queue", "compute_input", "compute_infer", "compute_output"):
            assert samples[nv(f"nv_inference_{part}_duration_us", model)] == 0
        for reason in ("REJECTED", "CANCELED", "BACKEND", "OTHER"):
            assert samples[nv("nv_inference_request_failure", model, reason=reason)] == 0
        assert samples["atd_nonfinite_rows_total", (("task", model),)] == 0


def test_counters_follow_the_statistics() -> None:
    statistics = Statistics(served(0, 1))
    metrics = Metrics(statistics)
    timing = Timing(total_s=0.02, queue_s=0.001, preprocess_s=0.003, infer_s=0.015)
    statistics.succeeded(served(0), timing)
    statistics.failed(served(1), "REJECTED", 0.1)
    batch = BatchRecord({PETS: 2, FLOWERS: 1}, images=1, seconds=0.015, nonfinite={FLOWERS: 1})
    statistics.executed(batch)
    metrics.executed(batch)
    metrics.answered(served(0), timing)
    samples = read(metrics)
    assert samples[nv("nv_inference_request_success", "pets")] == 1
    assert samples[nv("nv_inference_count", "pets")] == 2
    assert samples[nv("nv_inference_request_duration_us", "pets")] == 20_000
    assert samples[nv("nv_inference_compute_infer_duration_us", "pets")] == 15_000
    assert samples[nv("nv_inference_request_failure", "flowers", reason="REJECTED")] == 1
    assert samples["atd_batch_rows_sum", ()] == 3
    assert samples["atd_batch_tasks_sum", ()] == 2
    for name in ("atd_request_seconds", "atd_queue_seconds"):
        assert samples[f"{name}_count", (("task", "pets"),)] == 1
        assert samples[f"{name}_count", (("task", "flowers"),)] == 0
    assert samples["atd_request_seconds_bucket", (("le", "0.025"), ("task", "pets"))] == 1
    assert samples["atd_request_seconds_bucket", (("le", "0.01"), ("task", "pets"))] == 0
    assert samples["atd_preprocess_seconds_count", ()] == 1
    assert samples["atd_nonfinite_rows_total", (("task", "flowers"),)] == 1


def test_every_help_and_type_line_names_the_metric_that_follows() -> None:
    lines = Metrics(Statistics(served(0))).render().decode().splitlines()
    for before, line in pairwise(lines):
        if before.startswith("# TYPE nv_"):
            assert line.split("{")[0] == before.split()[2]


def test_two_servers_do_not_share_counters() -> None:
    one, two = (Metrics(Statistics(served(0))) for _ in range(2))
    one.executed(BatchRecord({PETS: 1}, images=1, seconds=0.1, nonfinite={}))
    assert read(two)["atd_batch_rows_count", ()] == 0


def test_answers_are_counted_by_status_and_gauges_are_asked_when_they_are_read() -> None:
    metrics = Metrics(Statistics(served(0)))
    value = 1
    metrics.show("atd_test", "A test", lambda: value)
    for status in (200, 503, 200):
        metrics.responded("/v1/predict", status)
    value = 7
    samples = read(metrics)
    assert samples["atd_http_responses_total", (("route", "/v1/predict"), ("status", "200"))] == 2
    assert samples["atd_http_responses_total", (("route", "/v1/predict"), ("status", "503"))] == 1
    assert samples["atd_test", ()] == 7
    assert samples["atd_build_info", (("version", adaptertune_deploy.__version__),)] == 1


def test_what_runs_is_one_line() -> None:
    samples = read(Metrics(Statistics(served(0)), {"engine": "onnxruntime", "backbone": "vit_tiny.x"}))
    words = {"version": adaptertune_deploy.__version__, "engine": "onnxruntime", "backbone": "vit_tiny.x"}
    assert samples["atd_build_info", tuple(sorted(words.items()))] == 1


def test_a_server_that_keeps_answers_counts_hits_and_misses_by_tritons_names() -> None:
    statistics = Statistics(served(0, 1))
    metrics = Metrics(statistics, cached=True)
    timing = Timing(total_s=0.02, queue_s=0.001, preprocess_s=0.003, infer_s=0.015, cache_s=0.0002)
    for hits in ((), (FLOWERS,), (PETS, FLOWERS)):
        statistics.succeeded(served(0, 1), timing, hits)
        metrics.answered(served(0, 1), timing, hits)
    samples = read(metrics)
    for model, hit in (("pets", 1), ("flowers", 2)):
        assert samples[nv("nv_cache_num_hits_per_model", model)] == hit
        assert samples[nv("nv_cache_num_misses_per_model", model)] == 3 - hit
        assert samples[nv("nv_cache_hit_duration_per_model", model)] == 200 * hit
        assert samples[nv("nv_cache_miss_duration_per_model", model)] == 200 * (3 - hit)
        assert samples[nv("nv_inference_request_success", model)] == 3
        assert samples["atd_request_seconds_count", (("task", model),)] == 3
        assert samples["atd_queue_seconds_count", (("task", model),)] == 3 - hit
    assert samples["atd_preprocess_seconds_count", ()] == 2
    assert "nv_cache" not in Metrics(statistics).render().decode()


def test_a_gauge_of_many_is_asked_for_when_it_is_read_and_follows_what_there_is() -> None:
    metrics = Metrics(Statistics(served(0)))
    values = {"idle": 1.0}
    metrics.show_each("atd_test", "A test", "phase", lambda: values)
    assert read(metrics)["atd_test", (("phase", "idle"),)] == 1
    values = {"head": 2.0}
    samples = read(metrics)
    assert samples["atd_test", (("phase", "head"),)] == 2
    assert ("atd_test", (("phase", "idle"),)) not in samples


def test_a_task_that_is_gone_leaves_no_line_and_no_line_tells_when_one_began() -> None:
    statistics = Statistics(served(0, 1))
    metrics = Metrics(statistics)
    metrics.answered(served(0, 1), Timing(0.02, 0.001, 0.003, 0.015))
    metrics.responded("/v1/predict", 200)
    statistics.remove(FLOWERS)
    metrics.remove("flowers")
    text = metrics.render().decode()
    assert "flowers" not in text
    assert 'task="pets"' in text
    assert "_created" not in text


def test_ends_of_connections_over_grpc_are_counted_by_reason() -> None:
    metrics = Metrics(Statistics(served(0)))
    for reason in ("head", "head", "room"):
        metrics.cut_off(reason)
    samples = read(metrics)
    found = [samples["atd_grpc_cut_off_total", (("reason", reason),)] for reason in ("head", "room")]
    assert found == [2, 1]
