from __future__ import annotations

import pytest

from adaptertune_deploy.cli.parts.options import candidate, check_at_least, check_form, image_size, split_names
from adaptertune_deploy.core.errors import UsageError


@pytest.mark.parametrize(
    ("text", "names"),
    [(None, None), ("pets", ["pets"]), ("pets,flowers", ["pets", "flowers"]), (" a , b,", ["a", "b"])],
)
def test_split_names(text: str | None, names: list[str] | None) -> None:
    assert split_names(text, ()) == names


@pytest.mark.parametrize("text", ["", " ", ",", " , ,"])
def test_a_list_without_a_name_says_so(text: str) -> None:
    with pytest.raises(UsageError, match="--adapters names no task; name one or more of birds, cars, or leave it out"):
        split_names(text, ("birds", "cars"))


@pytest.mark.parametrize(("ship", "chosen"), [("auto", None), ("adapter", "adapter"), ("head", "head")])
def test_auto_leaves_the_choice_to_training(ship: str, chosen: str | None) -> None:
    assert candidate(ship) == chosen


@pytest.mark.parametrize("ship", ["", "Head", "probe"])
def test_a_candidate_that_is_not_there_is_refused(ship: str) -> None:
    with pytest.raises(UsageError, match=f"--ship: no candidate '{ship}', only auto, adapter, head, full"):
        candidate(ship)


@pytest.mark.parametrize(
    ("text", "size"),
    [(None, None), ("224", (224, 224)), ("224x448", (224, 448)), (" 96X64 ", (96, 64)), ("4096", (4096, 4096))],
)
def test_an_image_size_is_one_number_or_height_and_width(text: str | None, size: tuple[int, int] | None) -> None:
    assert image_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "0", "-224", "224x", "x224", "224x224x3", "4097", "224x0", "22.4", "٢٢٤", "9" * 99]
)
def test_what_is_no_image_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--image-size .*: expected pixels from 1 to 4096, as 224 or 224x448 "):
        image_size(text)


def test_check_at_least() -> None:
    check_at_least("--top-k", 1, 1)
    with pytest.raises(UsageError, match="--top-k 0: expected a whole number from 1"):
        check_at_least("--top-k", 0, 1)


def test_a_form_that_is_not_there_is_refused() -> None:
    check_form("shared")
    with pytest.raises(UsageError, match=r"--form: no form 'mergd', only auto, shared, merged. Did you mean 'merged'"):
        check_form("mergd")
