"""train.request.recipe: what is refused, where adapters go, how long a run is and its learning rate, in closed form."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.train.request.recipe import (
    GIVEN,
    Recipe,
    count_steps,
    learning_rate,
    method_fields,
    nested_widths,
    rank_fields,
    usual_epochs,
)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("rank", "x", "--rank 'x': expected a whole number"),
        ("rank", 2.0, "--rank 2.0: expected a whole number"),
        ("rank", True, "--rank True: expected a whole number"),
        ("lr", "1e-3", "--lr '1e-3': expected a number"),
        ("placement", 3, "--placement 3: expected a text"),
        ("nested", 1, "--nested 1: expected True or False"),
        (
            "augment",
            "flips",
            "--augment flips: expected auto, fine, small, shapes, signs, digits, digits-in-scene or plain",
        ),
    ],
)
def test_a_value_of_another_type_is_said(setting: str, value: object, message: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        Recipe(**{setting: value})  # type: ignore[arg-type]


def test_numbers_of_numpy_are_numbers() -> None:
    assert Recipe(rank=np.int64(4), lr=np.float64(1e-3)).rank == 4


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("rank", -1),
        ("rank", 65537),
        ("placement", "lst:4"),
        ("placement", "last:0"),
        ("device", "gpu"),
        ("precision", "bf8"),
        ("alpha", 0.0),
        ("alpha", math.inf),
        ("alpha", 1e39),
        ("alpha", math.nan),
        ("epochs", -1),
        ("batch_size", 0),
        ("lr", 0.0),
        ("lr", 1.0),
        ("lr", math.nan),
        ("head_lr_scale", -0.1),
        ("weight_decay", -0.1),
        ("weight_decay", math.nan),
        ("clip", 0.0),
        ("warmup", 1.0),
        ("warmup", -0.1),
        ("label_smoothing", 1.0),
        ("ship", "both"),
        ("class_weights", "equal"),
        ("folds", -1),
        ("folds", 21),
        ("seeds", 0),
        ("served_view", 1.1),
        ("start_penalty_scale", 0.0),
        ("seed", -1),
        ("seed", 1 << 32),
        ("views", -1),
        ("views", 65),
        ("dropout", -0.1),
        ("dropout", 1.0),
        ("drop_path", 1.0),
        ("workers", -2),
    ],
)
def test_a_value_outside_its_range_is_refused_by_the_options_name(setting: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"^--{setting.replace('_', '-')} {re.escape(str(value))}: expected "):
        Recipe(**{setting: value})


def test_all_wrong_values_are_named_at_once() -> None:
    with pytest.raises(UsageError, match=r"--rank -1: .*; --lr 2: "):
        Recipe(rank=-1, lr=2)


def test_the_ends_of_the_ranges_are_accepted() -> None:
    Recipe(rank=0, epochs=0, batch_size=1, warmup=0.0, label_smoothing=0.0, weight_decay=0.0, clip=math.inf, workers=-1)
    Recipe(seed=(1 << 32) - 1, head_lr_scale=0.0)
    Recipe(seed=(1 << 32) - 3, seeds=3)


def test_a_recipe_is_refused_without_torch() -> None:
    script = "import sys, adaptertune_deploy.train.request.recipe; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "timm", "numpy"} & set(loaded)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8", (8, GIVEN, False)),
        (" 0 ", (0, GIVEN, False)),
        ("-1", (-1, GIVEN, False)),
        ("Auto:fast", (8, "auto:fast", False)),
        ("nested", (32, GIVEN, True)),
        ("nested:6", (6, GIVEN, True)),
    ],
)
def test_a_rank_is_a_number_a_search_or_nested(text: str, expected: tuple[int, str, bool]) -> None:
    fields = rank_fields(text)
    assert (fields["rank"], fields["search"], fields["nested"]) == expected


@pytest.mark.parametrize("text", ["", "4.5", "nested:", "nested8", "nested:x", "given", "8:nested", "1" * 10])
def test_any_other_rank_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected a whole number, auto, auto:fast, nested or nested:N"):
        rank_fields(text)


@pytest.mark.parametrize(
    ("rank", "widths"), [(2, (1, 2)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8)), (32, (1, 2, 4, 8, 16, 32)), (3, (1, 2, 3))]
)
def test_nested_widths_are_octaves_and_the_rank(rank: int, widths: tuple[int, ...]) -> None:
    assert nested_widths(rank) == widths


@pytest.mark.parametrize("changes", [{"rank": 1}, {"rank": 0}, {"search": "auto"}])
def test_nested_adapters_need_a_rank_to_cut(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"--rank nested:[0-9]+: expected a full width from 2, and no search"):
        Recipe(nested=True, **changes)


@pytest.mark.parametrize(
    ("method", "rank", "kind"), [("adapter", 8, "adapter"), ("head", 0, "adapter"), ("full", 0, "full")]
)
def test_a_method_is_a_recipe(method: str, rank: int, kind: str) -> None:
    recipe = Recipe(**method_fields(method))
    assert (recipe.rank, recipe.method) == (rank, kind)
    assert (recipe.lr < Recipe().lr) is (method == "full")


def test_methods_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match=r"--method ful: expected adapter, head or full\. Did you mean 'full'\?"):
        method_fields("ful")
    with pytest.raises(UsageError, match="--method full: trains the backbone and no adapters; leave out --rank"):
        Recipe(method="full", rank=8)
    with pytest.raises(UsageError, match=r"--views 3: keeps what no step changes, and --method full trains all"):
        Recipe(**method_fields("full"), views=3)
    with pytest.raises(UsageError, match=r"--dropout 0\.5: of adapters, and --method full trains none"):
        Recipe(**method_fields("full"), dropout=0.5)
    with pytest.raises(UsageError, match="--ship full: nothing is fine-tuned; add --method full"):
        Recipe(ship="full")


def test_an_adapter_of_no_rank_cannot_ship() -> None:
    Recipe(rank=0, ship="head")
    with pytest.raises(UsageError, match="--ship adapter: --rank 0, as --method head, trains no adapter"):
        Recipe(rank=0, ship="adapter")
    with pytest.raises(UsageError, match=r"^--ship adapter: --method full trains no adapter; leave one of them out$"):
        Recipe(**method_fields("full"), ship="adapter")


@pytest.mark.parametrize(
    ("setting", "typed", "near"),
    [("augment", "shape", "shapes"), ("ship", "adaptr", "adapter"), ("class_weights", "balance", "balanced")],
)
def test_a_word_that_is_nearly_right_is_told(setting: str, typed: str, near: str) -> None:
    with pytest.raises(UsageError, match=rf"{typed}: expected .*\. Did you mean '{near}'\?$"):
        Recipe(**{setting: typed})  # type: ignore[arg-type]


@pytest.mark.parametrize(("images", "epochs", "steps"), [(64, 7, 14), (65, 7, 15), (10, 7, 7)])
def test_epochs_are_those_asked_for(images: int, epochs: int, steps: int) -> None:
    assert count_steps(Recipe(epochs=epochs), images) == steps


@pytest.mark.parametrize(
    ("images", "epochs"),
    [(1, 8), (420, 8), (1_000, 8), (1_600, 5), (2_000, 4), (10_000, 4), (16_000, 2.5), (20_000, 2), (10**6, 2)],
)
def test_without_epochs_their_number_follows_from_the_size_of_the_data(images: int, epochs: float) -> None:
    assert usual_epochs(images) == epochs
    if images >= 420:
        assert count_steps(Recipe(), images) == math.ceil(epochs * images / 32)


@pytest.mark.parametrize(
    ("images", "of", "steps"), [(1_020, 2_040, 128), (280, 420, 70), (9_600, 12_000, 1_000), (100, 150, 60)]
)
def test_a_part_of_the_images_is_passed_over_as_often_as_all_of_them(images: int, of: int, steps: int) -> None:
    assert count_steps(Recipe(), images, of) == steps
    assert count_steps(Recipe(epochs=3), images, of) == count_steps(Recipe(epochs=3), images)


@pytest.mark.parametrize("images", [1, 30, 32, 100, 239])
def test_small_data_get_their_sixty_steps(images: int) -> None:
    assert count_steps(Recipe(), images) == 60


def test_the_learning_rate_in_closed_form() -> None:
    factors = [learning_rate(step, 10, 0.2) for step in range(10)]
    expected = [1 / 3, 2 / 3, *(math.cos(math.pi * k / 16) ** 2 for k in range(8))]
    assert factors == pytest.approx(expected, abs=1e-12)


@given(steps=st.integers(1, 400), warmup=st.floats(0, 0.99))
def test_the_learning_rate_rises_to_its_peak_once_and_then_falls(steps: int, warmup: float) -> None:
    factors = [learning_rate(step, steps, warmup) for step in range(steps)]
    rising = math.ceil(warmup * steps)
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[:rising] == sorted(set(factors[:rising]))
    assert factors[rising:] == sorted(set(factors[rising:]), reverse=True)
    if rising < steps:
        assert factors[rising] == 1


def test_the_last_of_several_seeds_has_to_be_one_too() -> None:
    with pytest.raises(
        UsageError, match=r"--seed 4294967295: --seeds 3 ends with 4294967297, .* at most 4294967295; give a"
    ):
        Recipe(seed=(1 << 32) - 1, seeds=3)
