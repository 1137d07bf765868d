"""core.adapter.samples: images travel only where they may, and only the very bytes that were recorded are found."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from adaptertune_deploy.core.adapter.samples import SAMPLES_NAME, SampleRecord, find, keep, travelling

IMAGES = [(b"first", ".jpg", "ash"), (b"second", ".png", "Ölm / tree"), (b"third", ".jpg", "o" * 300)]
NAMES = ["00000_ash.jpg", "00001__lm_tree.png", f"00002_{'o' * 60}.jpg"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "samples"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("travel", [True, False])
def test_records_name_the_images_by_hash_and_label(tmp_path: Path, travel: bool) -> None:
    records = keep(tmp_path / "pets", IMAGES, travel)
    assert [record.file for record in records] == NAMES
    assert [record.label for record in records] == [label for _, _, label in IMAGES]
    assert [record.sha256 for record in records] == [hashlib.sha256(data).hexdigest() for data, _, _ in IMAGES]
    found = find(tmp_path / "pets", records)
    assert tuple(record for record, _ in found) == records
    assert [path.read_bytes() for _, path in found] == [b"first", b"second", b"third"]


def test_what_may_travel_lies_in_the_folder_and_nowhere_else(tmp_path: Path, cache: Path) -> None:
    keep(tmp_path / "pets", IMAGES, travel=True)
    assert names(tmp_path / "pets" / SAMPLES_NAME) == sorted(NAMES)
    assert not cache.exists()


def test_what_may_not_travel_lies_in_the_cache_under_its_hash_alone(tmp_path: Path, cache: Path) -> None:
    records = keep(tmp_path / "pets", IMAGES, travel=False)
    assert not (tmp_path / "pets").exists()
    assert names(cache) == sorted(f"{record.sha256}{Path(record.file).suffix}" for record in records)
    assert not any("ash" in name for name in names(cache))
    assert cache.stat().st_mode & 0o077 == 0


def test_the_folder_comes_before_the_cache(tmp_path: Path) -> None:
    keep(tmp_path / "pets", IMAGES, travel=False)
    records = keep(tmp_path / "pets", IMAGES, travel=True)
    assert [path.parent for _, path in find(tmp_path / "pets", records)] == [tmp_path / "pets" / SAMPLES_NAME] * 3
    (tmp_path / "pets" / SAMPLES_NAME / NAMES[1]).unlink()
    (_, first), (_, second), (_, third) = find(tmp_path / "pets", records)
    assert (first.parent == third.parent, second.parent == first.parent) == (True, False)
    assert second.read_bytes() == b"second"


def test_only_the_recorded_bytes_are_found(tmp_path: Path, cache: Path) -> None:
    records = keep(tmp_path / "pets", IMAGES, travel=False)
    (cache / f"{records[0].sha256}.jpg").write_bytes(b"FIRST")
    (cache / f"{records[2].sha256}.jpg").unlink()
    assert [record for record, _ in find(tmp_path / "pets", records)] == [records[1]]
    assert len(find(tmp_path / "pets", keep(tmp_path / "pets", IMAGES, travel=False))) == 3  # kept again: repaired


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("nowhere", path)])
def test_what_is_no_file_is_passed_over_without_waiting(tmp_path: Path, make: object) -> None:
    records = keep(tmp_path / "pets", IMAGES, travel=True)
    path = tmp_path / "pets" / SAMPLES_NAME / NAMES[0]
    path.unlink()
    make(path)  # type: ignore[operator]
    assert [record for record, _ in find(tmp_path / "pets", records)] == list(records[1:])


def test_a_cache_that_cannot_be_written_still_gives_the_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").write_bytes(b"mine")
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "a file"))
    records = keep(tmp_path / "pets", IMAGES, travel=False)
    assert len(records) == 3
    assert find(tmp_path / "pets", records) == ()
    assert (tmp_path / "a file").read_bytes() == b"mine"


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "pets").write_bytes(b"")
    with pytest.raises(OSError, match="pets"):
        keep(tmp_path / "pets", IMAGES, travel=True)


@pytest.mark.parametrize("file", ["", "..", "../a.jpg", "a/b.jpg", "a\\b.jpg", ".hidden", "a\x00.jpg", "a" * 121])
def test_a_record_names_a_file_in_samples_and_no_other(file: str) -> None:
    with pytest.raises(ValueError, match="sample file"):
        SampleRecord(file, "0" * 64, "ash")


@pytest.mark.parametrize("sha256", ["", "0" * 63, "G" * 64, "../" + "0" * 61])
def test_a_record_holds_a_hash(sha256: str) -> None:
    with pytest.raises(ValueError, match="must be 64 hexadecimal digits"):
        SampleRecord("a.jpg", sha256, "ash")


def test_only_images_that_may_travel_are_handed_on(tmp_path: Path) -> None:
    kept = keep(tmp_path / "pets", IMAGES, travel=False)
    assert len(find(tmp_path / "pets", kept)) == 3
    assert travelling(tmp_path / "pets", kept, 3, 100) == ()
    keep(tmp_path / "pets", IMAGES, travel=True)
    assert [data for _, data in travelling(tmp_path / "pets", kept, 3, 100)] == [b"first", b"second", b"third"]
    assert [data for _, data in travelling(tmp_path / "pets", kept, 3, 5)] == [b"first", b"third"]  # not the larger one
    (tmp_path / "pets" / SAMPLES_NAME / NAMES[0]).write_bytes(b"other")
    assert [record.label for record, _ in travelling(tmp_path / "pets", kept, 1, 100)] == ["Ölm / tree"]
