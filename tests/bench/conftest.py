"""A folder with the golden bundle and adapters that know torch's answers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.bench.golden import GOLDEN, give_answers


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("bundle", "adapters"):
        shutil.copytree(GOLDEN / name, tmp_path / name)
    give_answers(tmp_path / "adapters")
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "cache"))
    return tmp_path
