"""model.weights_cache: what it finds again, and what it survives."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adaptertune_deploy.model import weights_cache

HASH, OTHER = "a" * 64, "b" * 64


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


def make_file(folder: Path, content: bytes = b"weights", name: str = "vit.safetensors") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["vit.safetensors", "vit.pth", "vit"])
def test_a_remembered_file_is_found_by_its_hash_alone(tmp_path: Path, name: str) -> None:
    assert weights_cache.find(HASH) is None
    weights = make_file(tmp_path, name=name)
    weights_cache.remember(weights, HASH)
    weights.write_bytes(b"changed")
    found = weights_cache.find(HASH)
    assert found is not None
    assert found.read_bytes() == b"weights"
    assert weights_cache.find(OTHER) is None
    if weights.suffix:
        assert found.suffix == weights.suffix  # timm reads safetensors by their suffix


def test_a_damaged_entry_is_replaced_and_a_good_one_left_alone(tmp_path: Path, folder: Path) -> None:
    weights = make_file(tmp_path)
    weights_cache.remember(weights, HASH)
    entry = weights_cache.find(HASH)
    assert entry is not None
    before = entry.stat().st_ino
    weights_cache.remember(weights, HASH)
    assert entry.stat().st_ino == before
    entry.write_bytes(b"WEIGHTS")
    weights_cache.remember(weights, HASH)
    assert entry.read_bytes() == b"weights"
    assert os.listdir(folder) == [entry.name]


def test_remembering_the_entry_itself_changes_nothing(tmp_path: Path) -> None:
    weights_cache.remember(make_file(tmp_path), HASH)
    entry = weights_cache.find(HASH)
    assert entry is not None
    weights_cache.remember(entry, HASH)
    assert entry.read_bytes() == b"weights"


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = make_file(tmp_path, name="a file")
    monkeypatch.setenv("ATD_CACHE", str(blocked))
    weights_cache.remember(make_file(tmp_path), HASH)
    assert weights_cache.find(HASH) is None
    assert blocked.read_bytes() == b"weights"
