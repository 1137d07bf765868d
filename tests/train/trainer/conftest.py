"""The folder of small pictures and the tiny network that whole runs are tried with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.train.runs import make_pictures
from tests.train.trainer.trainings import replace_backbone


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let no other module have decoded these pictures before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATD_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("data") / "trees", 14)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the network of tests.model.builders in the backbone's place, and draw no report."""
    replace_backbone(monkeypatch)
