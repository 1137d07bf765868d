"""train.sweep.swept: the file comes back as it was, and the words say no more than what was compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.train.sweep.swept import facts, read, title, words, write
from tests.train.sweep.sweeps import make_sweep


@pytest.mark.parametrize("changes", [{}, {"enough": None, "alike": (), "compared": 12}])
def test_a_sweep_comes_back_as_it_was(changes: dict[str, object], tmp_path: Path) -> None:
    write(tmp_path / "trees.json", make_sweep(**changes))
    assert read(tmp_path / "trees.json") == make_sweep(**changes)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "trees.json", make_sweep())
    text = (tmp_path / "trees.json").read_text()
    (tmp_path / "trees.json").write_text(text.replace('"format_version": 1', '"format_version": 7'))
    with pytest.raises(FormatError, match="format_version is 7, this release reads 1"):
        read(tmp_path / "trees.json")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "rank 2 is enough on 300 images out of fold (2 folds); not distinguishable from it: 8"),
        ({"alike": (2,), "folds": 1}, "rank 2 is enough on 300 images out of fold (one split)"),
        ({"enough": 0, "alike": (0,)}, "the head alone is enough on 300 images out of fold (2 folds)"),
        ({"enough": None, "alike": (), "compared": 12}, "12 images are too few to compare ranks out of fold"),
    ],
)
def test_what_is_enough_is_said(changes: dict[str, object], said: str) -> None:
    assert words(make_sweep(**changes)) == said


def test_one_seed_is_no_plural() -> None:
    assert title(make_sweep()).endswith("; 2 seeds on 100 test images")
    assert title(make_sweep(seeds=(0,))).endswith("; 1 seed on 100 test images")


def test_sizes_and_means_stand_in_the_json() -> None:
    found = json.loads(json.dumps(facts(make_sweep())))
    assert [one["bytes"] for one in found["ranks"]] == [400, 4_400, 16_400]
    assert [one["test_top1_mean"] for one in found["ranks"]] == pytest.approx([0.81, 0.85, 0.865])
    assert found["words"].startswith("rank 2 is enough")
