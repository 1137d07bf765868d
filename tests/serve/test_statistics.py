from __future__ import annotations

from adaptertune_deploy.serve.batching.batch import BatchRecord
from adaptertune_deploy.serve.statistics import REASONS, Statistics, Tally, Timing
from tests.serve.fakes import served

PETS, FLOWERS = served(0, 1)


def test_a_tally_counts_and_adds_nanoseconds() -> None:
    tally = Tally()
    tally.add(0.001)
    tally.add(0.002)
    assert tally == Tally(2, 3_000_000)


def test_a_request_counts_for_each_of_its_tasks() -> None:
    statistics = Statistics(served(0, 1, 2))
    statistics.began(served(0, 2))
    statistics.succeeded(served(0, 2), Timing(total_s=0.01, queue_s=0.001, preprocess_s=0.002, infer_s=0.006))
    pets = statistics.tasks["pets", 1]
    assert pets == statistics.tasks["digits", 1]
    assert (pets.success, pets.queue) == (Tally(1, 10_000_000), Tally(1, 1_000_000))
    assert (pets.compute_input, pets.compute_infer) == (Tally(1, 2_000_000), Tally(1, 6_000_000))
    statistics.made(served(0), 0.0005)
    assert (pets.compute_output, statistics.tasks["digits", 1].compute_output) == (Tally(1, 500_000), Tally())
    assert pets.pending == 1
    statistics.ended(served(0, 2))
    assert pets.pending == 0
    assert statistics.tasks["flowers", 1].success.count == 0


def test_a_hit_of_the_response_cache_counts_as_success_and_as_no_work() -> None:
    statistics = Statistics(served(0, 1))
    timing = Timing(total_s=0.01, queue_s=0.001, preprocess_s=0.002, infer_s=0.006, cache_s=0.0001)
    statistics.succeeded(served(0, 1), timing, hits={PETS})
    pets, flowers = statistics.tasks["pets", 1], statistics.tasks["flowers", 1]
    assert (pets.success, pets.queue, pets.cache_hit) == (Tally(1, 10_000_000), Tally(1, 0), Tally(1, 100_000))
    assert pets.compute_input == pets.compute_infer == pets.cache_miss == Tally()
    assert (flowers.cache_miss, flowers.cache_hit, flowers.compute_infer) == (
        Tally(1, 100_000), Tally(), Tally(1, 6_000_000)
    )  # fmt: skip


def test_failures_count_by_reason_and_all_reasons_exist_from_the_start() -> None:
    statistics = Statistics(served(0))
    assert statistics.tasks["pets", 1].failures == dict.fromkeys(REASONS, 0)
    statistics.failed(served(0), "CANCELED", 0.5)
    assert statistics.tasks["pets", 1].failures["CANCELED"] == 1
    assert statistics.tasks["pets", 1].fail == Tally(1, 500_000_000)


def test_an_engine_run_counts_rows_and_one_execution_per_task() -> None:
    statistics = Statistics(served(0, 1))
    statistics.executed(BatchRecord({PETS: 3, FLOWERS: 1}, images=2, seconds=0.004, nonfinite={}))
    statistics.executed(BatchRecord({PETS: 1}, images=1, seconds=0.002, nonfinite={}))
    pets, flowers = statistics.tasks["pets", 1], statistics.tasks["flowers", 1]
    assert (pets.rows, pets.executions) == (4, 2)
    assert (flowers.rows, flowers.executions) == (1, 1)
    assert pets.batches == {3: Tally(1, 4_000_000), 1: Tally(1, 2_000_000)}
    assert pets.last_inference_ms > 1_600_000_000_000
