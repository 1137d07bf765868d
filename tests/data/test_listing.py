from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.listing import existing, notes, present
from adaptertune_deploy.data.samples import FileReader
from tests.data.builders import save_image

LISTED = {
    "train": (["a.png", "b.png", "c.png"], np.array([0, 1, 2])),
    "test": (["d.png", "e.png"], np.array([0, 1])),
}


def test_everything_present_is_kept_in_order(tmp_path: Path) -> None:
    for name in "abcde":
        save_image(tmp_path / f"{name}.png")
    splits, skipped = present("x", LISTED, FileReader(tmp_path), allow_missing=False)
    assert skipped == ()
    assert splits["train"].names == ("a.png", "b.png", "c.png")
    assert splits["train"].targets.tolist() == [0, 1, 2]


def test_absent_images_are_counted_by_split_and_named(tmp_path: Path) -> None:
    for name in "bd":
        save_image(tmp_path / f"{name}.png")
    with pytest.raises(DatasetError) as caught:
        present("x", LISTED, FileReader(tmp_path), allow_missing=False)
    message = str(caught.value)
    assert message.startswith(f"x: 3 listed images are absent from {tmp_path} (2 of 3 in train, 1 of 2 in test; ")
    assert "first: a.png, c.png, e.png" in message
    splits, skipped = present("x", LISTED, FileReader(tmp_path), allow_missing=True)
    assert skipped == ("a.png", "c.png", "e.png")
    assert splits["train"].targets.tolist() == [1]


def test_a_split_without_any_image_is_refused_even_so(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    with pytest.raises(DatasetError, match="none of the 2 images of test"):
        present("x", LISTED, FileReader(tmp_path), allow_missing=True)


def test_what_was_left_out_is_counted_and_named() -> None:
    assert notes(()) == ()
    assert notes([f"{letter}.png" for letter in "abcd"]) == (
        "4 listed images are absent and were left out (first: a.png, b.png, c.png)",
    )


def test_folders_are_looked_into_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/0.png", "a/1.png", "b/c/0.png", "top.png"):
        save_image(tmp_path / "images" / name)
    listed = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: (listed.append(str(path)), listdir(path))[1])
    names = ["a/0.png", "a/1.png", "a/2.png", "b/c/0.png", "b/0.png", "top.png", "../images/top.png"]
    names += ["none/0.png", "x\0/0.png"]
    found = existing(tmp_path / "images", names)
    assert found.intersection(names) == {"a/0.png", "a/1.png", "b/c/0.png", "top.png", "../images/top.png"}
    assert sorted(listed) == sorted(set(listed))
