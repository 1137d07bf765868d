"""core.storage.cache: where the cache lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.storage.cache import cache_folder


def test_the_place_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "cache"))
    assert cache_folder("weights") == tmp_path / "cache" / "weights"
    assert cache_folder("samples") == tmp_path / "cache" / "samples"
    monkeypatch.delenv("ATD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("weights") == tmp_path / "xdg" / "adaptertune-deploy" / "weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder("weights") == tmp_path / "home" / ".cache" / "adaptertune-deploy" / "weights"
    assert list(tmp_path.iterdir()) == []


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATD_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    with pytest.raises(UsageError, match="name a folder: ATD_CACHE=FOLDER"):
        cache_folder("weights")
