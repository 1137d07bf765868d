"""train.outcome.verdict: no sentence says more than the counts show, and what ships is always said with its reason."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from adaptertune_deploy.core.adapter.nested import WidthRecord
from adaptertune_deploy.core.answers.significance import Paired
from adaptertune_deploy.train.outcome import verdict
from adaptertune_deploy.train.outcome.measured import ADAPTER, HEAD, Gate
from tests.train.outcome.measured_values import (
    make_gate,
    make_head_only,
    make_measure,
    make_measured,
    make_nested_widths,
    make_rank_choice,
    make_repeats,
)

FEW = Gate(3, 12, None, None, 0.0, 0.0, 2.0, HEAD)
REASONS: list[tuple[dict[str, Any], str]] = [
    ({}, "the head alone ships: cross-validation shows no gain from the adapter"),
    ({"gate": make_gate(-0.1, 0.02)}, "the head alone ships: in cross-validation the adapter does worse"),
    (
        {"gate": make_gate(0.1, 0.02), "ships": ADAPTER},
        "the adapter ships: cross-validation shows that it beats the head alone",
    ),
    ({"gate": FEW}, "the head alone ships: there were too few images to compare the two"),
    (
        {"ships": ADAPTER, "chosen_by": "user"},
        "the adapter ships: --ship adapter asked for it; cross-validation chose the head alone",
    ),
    (
        {"ships": HEAD, "chosen_by": "user", "gate": make_gate(0.1, 0.02)},
        "the head alone ships: --ship head asked for it; cross-validation chose the adapter",
    ),
    (
        {"ships": HEAD, "chosen_by": "user", "gate": None},
        "the head alone ships: --ship head asked for it; nothing was compared",
    ),
    (
        {"ships": ADAPTER, "chosen_by": "user", "gate": FEW},
        "the adapter ships: --ship adapter asked for it; nothing was compared",
    ),
]


@pytest.mark.parametrize(("changes", "said"), REASONS)
def test_what_ships_is_said_with_its_reason(changes: dict[str, Any], said: str) -> None:
    assert verdict.ships(make_measured(**changes)) == said


def test_rank_0_has_nothing_to_compare() -> None:
    measured = make_head_only()
    assert verdict.ships(measured) == "the head alone ships: no adapter was trained (rank 0)"
    assert (verdict.compared(measured), verdict.on_the_same_images(measured)) == (None, None)
    assert (verdict.contradiction(measured), verdict.seeds(measured)) == (None, ())


def test_the_candidates_are_compared_image_by_image() -> None:
    measured = make_measured()
    head, adapter = measured.head.scores.hits, measured.adapter.scores.hits
    expected = Paired(int((adapter & ~head).sum()), int((head & ~adapter).sum()), 40)
    assert verdict.compared(measured) == expected == Paired(4, 1, 40)
    assert verdict.on_the_same_images(measured) == (
        "adapter against head alone, test images: 4 images better, 1 worse: no difference shown (p = 0.38); "
        "difference +7.5 points, 95 % interval -4.1 .. +18.4"
    )


def test_the_comparison_out_of_fold_in_numbers() -> None:
    assert verdict.out_of_fold(make_gate()) == (
        "out of fold (3 folds, 259 images): loss 0.452 for the head alone, 0.431 with the adapter; gain 0.021 ± 0.018 "
        "(1.2 standard errors, 2 are asked for)"
    )
    assert "gain 0.000210 ± 0.000040 (5.2 standard errors" in verdict.out_of_fold(make_gate(0.00021, 0.00004))
    assert "(one split, 5,000 images)" in verdict.out_of_fold(make_gate(images=5_000, folds=1))
    assert verdict.out_of_fold(FEW) == "out of fold: 12 images are too few to compare the two"


@pytest.mark.parametrize(
    ("right", "ships", "said"),
    [
        (40, HEAD, "on the test images the adapter is better than what ships (p = 0.002)"),
        (40, ADAPTER, None),
        (20, ADAPTER, "on the test images the head alone is better than what ships (p = 0.002)"),
        (20, HEAD, None),
        (33, HEAD, None),
    ],
)
def test_test_images_that_say_otherwise_are_not_passed_over(right: int, ships: str, said: str | None) -> None:
    measured = make_measured(adapter=make_measure(right, 40), ships=ships)
    found = verdict.contradiction(measured)
    assert found is None if said is None else found is not None and found.startswith(said)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (1, "1 test image: one image is 100.0 points; so few can't show any difference"),
        (5, "5 test images: one image is 20.0 points; so few can't show any difference"),
        (
            74,
            "74 test images: one image is 1.4 points; models that differ on fewer than 6 images (8.1 points) can't be "
            "told apart",
        ),
        (100, None),
    ],
)
def test_few_images_say_what_they_can_not_show(images: int, said: str | None) -> None:
    assert verdict.coarse(images) == said
    assert not Paired(min(5, images), 0, images).is_shown  # what the sentence claims


def test_seeds_have_a_mean_and_a_spread() -> None:
    assert verdict.seeds(make_measured()) == ()
    three = make_measured(repeats=make_repeats(31, 32))
    assert verdict.seed_accuracies(three) == (33 / 40, 31 / 40, 32 / 40)
    assert verdict.seeds(three) == (
        "3 seeds on the same test images: adapter 80.0 % on average, standard deviation 2.5 points, range "
        "77.5 .. 82.5 %",
        "the comparison out of fold chose the adapter with 1 of 3 seeds",
    )
    uncompared = tuple(dataclasses.replace(repeat, gate=FEW) for repeat in three.repeats)
    assert len(verdict.seeds(dataclasses.replace(three, gate=FEW, repeats=uncompared))) == 1
    four = dataclasses.replace(three, repeats=make_repeats(31, 32, 32, gates=False))
    (said,) = verdict.seeds(four)
    assert "4 seeds" in said
    assert "95 % t interval of the mean 76.8 .. 83.2 %" in said


# The rank.


@pytest.mark.parametrize(
    ("alike", "words"),
    [
        ((4,), "rank 4 on 378 images out of fold"),
        ((4, 8), "rank 4, not distinguishable from 8 on 378 images out of fold"),
        ((4, 8, 32), "rank 4, not distinguishable from 8 and 32 on 378 images out of fold"),
    ],
)
def test_a_rank_is_said_with_those_that_it_can_not_be_told_from(alike: tuple[int, ...], words: str) -> None:
    measured = make_measured(rank=make_rank_choice(*alike), seconds=12.0)
    tried = "(2 folds; tried 0, 2, 4, 8, 32); about 2.0 times the time of a given rank"
    assert verdict.rank(measured) == f"{words} {tried}"


def test_an_adapter_that_was_asked_for_where_none_was_needed_is_said_to_be() -> None:
    choice = dataclasses.replace(make_rank_choice(4), overruled=True)
    assert verdict.rank(make_measured(rank=choice, seconds=12.0)) == (
        "rank 4 on 378 images out of fold (2 folds; tried 0, 2, 4, 8, 32); rank 0 was enough, but --ship adapter asked "
        "for an adapter; about 2.0 times the time of a given rank"
    )


def test_the_cost_of_a_search_is_told_in_runs_with_a_given_rank() -> None:
    """Four ranks in 8 of 12 seconds, in place of one in 2: a run that is given it takes 4 + 2."""
    assert verdict.cost_of(make_measured(rank=make_rank_choice(), seconds=12.0)) == pytest.approx(2.0)
    assert verdict.cost_of(make_measured()) == 1.0


def test_nested_adapters_say_what_a_cut_loses() -> None:
    widths = make_nested_widths()
    assert verdict.widths(make_measured()) is None
    assert verdict.widths(make_measured(widths=widths)) == (
        "nested: atd export --rank N cuts rank 4 to 1, 2; out of fold none is within a standard error of rank 4"
    )
    near = [dataclasses.replace(one.record.measure, above=0.01) for one in widths if one.record.measure]
    alike = tuple(
        dataclasses.replace(one, record=dataclasses.replace(one.record, measure=measure))
        for one, measure in zip(widths, near, strict=True)
    )
    said = verdict.widths(make_measured(widths=alike)) or ""
    assert said.endswith("out of fold ranks 1, 2 are within a standard error of rank 4")
    said = verdict.widths(make_measured(widths=(widths[0], alike[1], widths[2]))) or ""
    assert said.endswith("out of fold rank 2 is within a standard error of rank 4")
    few = tuple(dataclasses.replace(one, record=WidthRecord(one.record.rank, 1.0)) for one in widths)
    assert (verdict.widths(make_measured(widths=few)) or "").endswith("too few images to compare them")


@pytest.mark.parametrize(
    ("candidate", "name"),
    [("head", "head alone"), ("adapter", "adapter + head"), ("adapter-4", "adapter + head, cut to rank 4")],
)
def test_candidates_have_names(candidate: str, name: str) -> None:
    assert verdict.name_of(candidate) == name


def test_a_given_rank_needs_no_words() -> None:
    assert verdict.rank(make_measured()) is None


def test_a_search_that_finds_no_use_of_adapters_says_so() -> None:
    choice = make_rank_choice(0, 4, picked=0)
    measured = make_measured(adapter=None, curve=(), proofs=None, rank=choice)
    assert verdict.ships(measured) == (
        "the head alone ships: no rank that was tried is shown to beat it in cross-validation"
    )
    assert verdict.rank(measured) == (
        "rank 0, not distinguishable from 4 on 378 images out of fold (2 folds; tried 0, 2, 4, 8, 32); about "
        f"{measured.seconds / (measured.seconds - 6):.1f} times the time of a given rank"
    )


def test_too_few_images_are_said() -> None:
    choice = dataclasses.replace(make_rank_choice(), rank=8, images=12, tried=(), alike=())
    assert verdict.rank(make_measured(rank=choice)) == (
        "rank: 12 images are too few to compare ranks, so the usual 8 was taken"
    )
    assert verdict.cost_of(make_measured(rank=choice)) == 1.0
