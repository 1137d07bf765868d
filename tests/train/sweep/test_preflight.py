"""train.sweep.preflight: a sweep that can't be is refused before any work, and what it replaces is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.train.request.recipe import AUTO, FEWEST_NESTED, Recipe, method_fields
from adaptertune_deploy.train.request.request import TrainRequest
from adaptertune_deploy.train.sweep.preflight import check_results, check_sweep, swept_recipe
from tests.builders import make_task, write_adapter


def test_rank_search_and_what_ships_of_a_recipe_do_not_matter() -> None:
    asked = Recipe(rank=3, search=AUTO, ship="adapter", clip=2.0)
    assert swept_recipe(asked, (2, 4), nested=True, full=True) == Recipe(rank=4, clip=2.0)


def test_nested_adapters_need_a_rank_that_can_be_cut() -> None:
    assert swept_recipe(Recipe(), (1, FEWEST_NESTED), nested=True, full=False).rank == FEWEST_NESTED
    with pytest.raises(UsageError, match=r"^--nested: needs a rank of 2 or more in --ranks$"):
        swept_recipe(Recipe(), (1,), nested=True, full=False)


def test_what_full_fine_tuning_refuses_is_refused_by_its_option() -> None:
    with pytest.raises(UsageError, match=r"^--full: --dropout 0\.2: of adapters"):
        swept_recipe(Recipe(dropout=0.2), (1,), nested=False, full=True)
    with pytest.raises(UsageError, match=r"^method: full: a sweep compares ranks of adapters; leave it out"):
        swept_recipe(Recipe(**method_fields("full")), (1,), nested=False, full=False)


def test_only_files_of_a_sweep_are_replaced(tmp_path: Path) -> None:
    write_adapter(tmp_path / "digits", make_task("digits"))
    request = TrainRequest("digits", None, tmp_path)
    assert not any("replaced" in note for note in check_sweep(request, (1, 2), nested=True, full=False))
    for name in ("digits.json", "digits.png"):
        (tmp_path / name).write_bytes(b"")
    (note,) = check_results(tmp_path, "digits")
    names = f"{tmp_path / 'digits.json'} and {tmp_path / 'digits.png'}"
    assert note == f"{names} will be replaced; to keep them: --task NAME, or --out FOLDER"
    assert check_sweep(request, (1, 2), nested=True, full=False)[0] == note
    head = replace(request, recipe=Recipe(rank=0, views=3))  # of a file; the ranks look at the views
    assert check_sweep(head, (1,), False, False) == check_sweep(request, (1,), False, False)


def test_a_place_that_will_not_do_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trees.json").mkdir()
    with pytest.raises(UsageError, match=r"trees\.json exists and is no file; move it away"):
        check_results(tmp_path, "trees")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match=r"--out .*file: is a file, expected a folder"):
        check_sweep(replace(TrainRequest("digits", None, tmp_path), out=tmp_path / "file"), (1,), False, False)
