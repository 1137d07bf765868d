"""The search finds the planted best, opens few things at once, keeps to its time and says what it left out."""

from __future__ import annotations

import pytest

from adaptertune_deploy.bench.agreement import Agreement
from adaptertune_deploy.bench.budget import Budget
from adaptertune_deploy.bench.choose import choose
from adaptertune_deploy.bench.search import FINALISTS, Space, search
from adaptertune_deploy.bench.setups import Setup
from adaptertune_deploy.bench.tried import Evidence
from adaptertune_deploy.core.errors import EngineError, UsageError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.limits import Limits
from tests.bench.planted import Milliseconds, World

FP32, BF16, INT8 = Precision.FP32, Precision.BF16, Precision.INT8
SETUPS = (Setup("onnxruntime", FP32), Setup("onnxruntime", INT8), Setup("openvino", FP32), Setup("openvino", BF16))
SPACE = Space(SETUPS, SETUPS[0], (2, 1), (1, 2, 4, 8, 16, 32), 8)
ONE = Space(SETUPS[2:3], SETUPS[0], (), (8,), 8)  # an engine alone that is not the untuned server's
APIECE = {SETUPS[0]: 10.0, SETUPS[1]: 6.0, SETUPS[2]: 9.0, SETUPS[3]: 5.0}  # milliseconds of an image


def planted(best_threads: int = 1, best_batch: int = 4) -> Milliseconds:
    """Return times in which a number of threads saves a fifth, and a batch another fifth, of every setup."""

    def milliseconds(setup: Setup, batch: int) -> float:
        apiece = APIECE[Setup(setup.engine, setup.precision)]
        return batch * apiece * (0.8 if setup.threads == best_threads else 1) * (0.8 if batch == best_batch else 1)

    return milliseconds


def found_in(world: World, space: Space = SPACE, seconds: float = 20.0) -> Evidence:
    evidence = search(space, world.opening, Budget(seconds, clock=world.clock))
    assert world.open == []
    return evidence


@pytest.mark.parametrize(("threads", "batch"), [(1, 4), (2, 16), (0, 1), (1, 32)])
def test_the_fastest_of_all_combinations_is_found(threads: int, batch: int) -> None:
    evidence = found_in(World(planted(threads, batch)))
    choice = choose(evidence.final)
    assert (choice.setup, choice.batch) == (Setup("openvino", BF16, threads=threads), batch)
    assert choice.gain is not None
    apiece = 5 * 0.8 * 0.8
    assert choice.gain.median == pytest.approx(10 * (0.8 if threads == 0 else 1) / apiece)
    assert evidence.left_out == ()


def test_the_untuned_server_comes_first_among_few_that_run_side_by_side() -> None:
    world = World(planted())
    evidence = found_in(world)
    assert (evidence.final[0].setup, evidence.final[0].batch) == (SETUPS[0], 8)
    assert evidence.final[0].gain == evidence.final[0].gain.of([1.0])  # type: ignore[union-attr]
    assert len(evidence.final) == FINALISTS + 1
    assert world.most <= FINALISTS + 1
    assert len({entry.rounds for entry in evidence.final}) == 1


def test_the_time_is_kept_and_most_of_it_is_for_those_that_run_side_by_side() -> None:
    world = World(planted())
    evidence = found_in(world)
    assert 20 <= world.clock.now < 22
    last = sum(entry.rounds * entry.milliseconds.median for entry in evidence.final) / 1e3
    assert last > 6


def test_what_changes_answers_is_out_however_fast_and_says_so() -> None:
    wrong = Agreement(20, 13, 0.5, 2.5)
    evidence = found_in(World(planted(), {("openvino", BF16): wrong}))
    assert choose(evidence.final).setup.engine == "onnxruntime"
    (out,) = evidence.left_out
    assert (out.engine, out.precision) == ("openvino", BF16)
    assert out.reason == (
        "changes answers: up to 5.0e-01 from torch's logits, 2.5 times what bf16 may; same first class in 13 of 20"
    )
    assert {(entry.engine, entry.precision): entry.same for entry in evidence.checked}["openvino", BF16] == 13
    assert not [entry for entry in evidence.looked if entry.precision is BF16]


def test_below_fp32_nothing_is_chosen_that_can_not_be_compared() -> None:
    evidence = found_in(World(planted(), usually=None))
    assert {entry.precision for entry in evidence.looked} == {FP32}
    assert {entry.reason for entry in evidence.left_out} == {
        "can't be compared with torch's answers: no samples of these tasks are here"
    }
    assert evidence.checked == ()


def test_an_engine_that_does_not_open_is_left_out_with_its_words() -> None:
    evidence = found_in(World(planted(), broken=frozenset({"openvino"})))
    assert [entry.reason for entry in evidence.left_out] == ["openvino is broken"] * 2
    with pytest.raises(EngineError, match="onnxruntime is broken"):
        found_in(World(planted(), broken=frozenset({"onnxruntime"})))


def test_too_little_time_still_measures_the_untuned_server_and_names_what_was_not_tried() -> None:
    evidence = found_in(World(planted()), seconds=0.01)
    assert [(entry.setup, entry.batch) for entry in evidence.final] == [(SETUPS[0], 8)]
    assert {entry.reason for entry in evidence.left_out} == {"not tried: 0.01 s were too short; give --time more"}
    left = [(entry.engine, entry.precision, entry.threads) for entry in evidence.left_out]
    assert left == [
        *((setup.engine, setup.precision, 0) for setup in SETUPS[1:]),
        ("onnxruntime", FP32, 2),
        ("onnxruntime", FP32, 1),
    ]


def test_larger_batches_are_not_tried_once_they_bring_less() -> None:
    evidence = found_in(World(planted(best_batch=1)))
    sizes = [entry.batch for entry in evidence.looked if entry.setup == Setup("openvino", BF16, threads=1)]
    assert sorted(sizes) == [1, 2, 4, 8]  # 8 was the first look's


def test_no_run_is_larger_than_the_engine_takes() -> None:
    world = World(planted(best_batch=4), limits=Limits(rows=(1, 2, 4), max_rows=4))
    evidence = found_in(world)
    assert max(batch for _, batch in world.runs) == 4
    assert (evidence.final[0].setup, evidence.final[0].batch) == (SETUPS[0], 4)


def test_slow_batches_are_no_finalists_where_latency_is_bound() -> None:
    space = Space(SETUPS, SETUPS[0], (), SPACE.batches, 8, latency_ms=12.0)
    evidence = found_in(World(planted(best_batch=2)), space)
    assert all(entry.milliseconds.median <= 12 for entry in evidence.final[1:])
    assert choose(evidence.final, 12.0).batch == 2


def uneven(every: int = 3, longer: float = 1.5) -> Milliseconds:
    """Return times of which one in so many is longer, as on a machine that does other things too."""
    runs: dict[tuple[Setup, int], int] = {}

    def milliseconds(setup: Setup, batch: int) -> float:
        runs[setup, batch] = runs.get((setup, batch), 0) + 1
        return (4 + batch) * (longer if runs[setup, batch] % every == 0 else 1)

    return milliseconds


@pytest.mark.parametrize(("latency", "batch"), [(7.6, 1), (12.1, 4), (20.0, 8)])
def test_a_batch_that_is_quick_enough_is_found_where_times_are_uneven(latency: float, batch: int) -> None:
    space = Space(SETUPS[:1], SETUPS[0], (1, 2, 4), SPACE.batches, 8, latency_ms=latency)
    evidence = found_in(World(uneven()), space)
    assert choose(evidence.final, latency).batch == batch


def test_where_nothing_is_quick_enough_the_quickest_of_all_is_named() -> None:
    space = Space(SETUPS[:1], SETUPS[0], (), SPACE.batches, 8, latency_ms=3.0)
    evidence = found_in(World(uneven()), space)
    with pytest.raises(UsageError, match=r"the best takes 7\.5 ms \(onnxruntime in fp32, batches of 1\)"):
        choose(evidence.final, 3.0)


def test_the_untuned_server_is_what_gains_are_over_where_it_may_not_be_chosen() -> None:
    evidence = found_in(World(planted()), Space(SETUPS[2:], SETUPS[0], SPACE.threads, SPACE.batches, 8))
    assert (evidence.final[0].setup, evidence.final[0].batch) == (SETUPS[0], 8)
    assert {entry.setup for entry in evidence.looked if entry.engine == "onnxruntime"} == {SETUPS[0]}
    choice = choose(evidence.final, engines={"openvino"})
    assert (choice.setup, choice.batch) == (Setup("openvino", BF16, threads=1), 4)
    assert choice.gain is not None
    assert choice.gain.median == pytest.approx(10 / (5 * 0.8 * 0.8))


def test_an_untuned_server_that_is_faster_is_not_chosen_where_it_may_not_be() -> None:
    evidence = found_in(World(lambda setup, batch: 10.0 * batch * (2 if setup.engine == "openvino" else 1)), ONE)
    choice = choose(evidence.final, engines={"openvino"})
    assert choice.engine == "openvino"
    assert choice.gain is not None
    assert choice.gain.median == pytest.approx(0.5)


def test_an_untuned_server_that_does_not_open_stops_nothing_else() -> None:
    evidence = found_in(World(planted(), broken=frozenset({"onnxruntime"})), ONE)
    assert [(entry.engine, entry.reason) for entry in evidence.left_out] == [("onnxruntime", "onnxruntime is broken")]
    assert evidence.final[0].setup == SETUPS[2]
    with pytest.raises(EngineError, match="openvino is broken"):
        found_in(World(planted(), broken=frozenset({"openvino"})), ONE)
