"""data.looks.quick: most photographs are decoded reduced, and exact copies are those of a full reading."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adaptertune_deploy.data.looks import quick
from adaptertune_deploy.data.looks.quick import look
from adaptertune_deploy.data.looks.scan import Look, scan
from adaptertune_deploy.data.samples import FileReader, Split
from tests.data.scenes import save_scene

SIDES = (320, 256)


def split_of(root: Path, names: Sequence[str]) -> Split:
    return Split(tuple(names), np.zeros(len(names), dtype=np.int64), FileReader(root))


def copies(looks: Sequence[Look]) -> list[set[str]]:
    """Return the names that share their pixels with others."""
    of: dict[bytes, set[str]] = {}
    for one in looks:
        of.setdefault(one.print.pixels if one.print else b"", set()).add(one.name)
    return sorted((same for same in of.values() if len(same) > 1), key=min)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """Return a list that gets the names of every pass."""
    passes: list[set[str]] = []

    def watched(splits: dict[str, Split], *rest: object, **options: bool) -> tuple[Look, ...]:
        passes.append({name for split in splits.values() for name in split.names})
        return scan(splits, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(quick, "scan", watched)
    return passes


def test_photographs_of_one_kind_are_read_once(tmp_path: Path, read: list[set[str]]) -> None:
    names = [save_scene(tmp_path / f"{number}.jpg", number, SIDES).name for number in range(3)]
    (tmp_path / "bytes.jpg").write_bytes((tmp_path / "0.jpg").read_bytes())
    split = split_of(tmp_path, [*names, "bytes.jpg"])
    assert look({"train": split}) == scan({"train": split}, reduced=True)
    assert read == [set(split.names)]


def test_a_photograph_that_was_saved_again_without_loss_is_a_copy(tmp_path: Path, read: list[set[str]]) -> None:
    for number in range(3):
        save_scene(tmp_path / f"{number}.jpg", number, SIDES)
    save_scene(tmp_path / "other size.jpg", 4, (256, 256))
    Image.open(tmp_path / "1.jpg").save(tmp_path / "1 again.png")
    image = Image.open(tmp_path / "other size.jpg")
    image.save(tmp_path / "other size again.jpg", quality="keep", optimize=True, comment=b"the same pixels")
    names = sorted(path.name for path in tmp_path.iterdir())
    splits = {"train": split_of(tmp_path, names[:4]), "test": split_of(tmp_path, names[4:])}
    found = look(splits)
    assert [(one.split, one.name) for one in found] == [(part, name) for part in splits for name in splits[part].names]
    assert (
        copies(found)
        == copies(scan(splits))
        == [
            {"1.jpg", "1 again.png"},
            {"other size.jpg", "other size again.jpg"},
        ]
    )
    assert read == [set(names), set(names) - {"1 again.png"}]


def test_what_only_reducing_makes_alike_is_no_copy(tmp_path: Path, read: list[set[str]]) -> None:
    pixels = np.full((256, 256, 3), 128, np.uint8)
    pixels[::2, ::2] = 144
    pixels[1::2, 1::2] = 144
    for name, image in (("checked.jpg", pixels), ("unchecked.jpg", np.full_like(pixels, 136))):
        Image.fromarray(image).save(tmp_path / name, quality=95)
    split = split_of(tmp_path, ["checked.jpg", "unchecked.jpg"])
    assert copies(scan({"train": split}, reduced=True)) == [{"checked.jpg", "unchecked.jpg"}]
    assert copies(look({"train": split})) == []


def test_small_and_unreadable_images_are_not_read_again(tmp_path: Path, read: list[set[str]]) -> None:
    save_scene(tmp_path / "0.jpg", 0, (120, 120))
    Image.open(tmp_path / "0.jpg").save(tmp_path / "0.png")
    (tmp_path / "no.jpg").write_bytes(b"no image")
    assert copies(look({"train": split_of(tmp_path, ["0.jpg", "0.png", "no.jpg"])})) == [{"0.jpg", "0.png"}]
    assert len(read) == 1
