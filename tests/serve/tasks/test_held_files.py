"""serve.tasks.held_files: what is kept open, for how long, and what happens when no more may be."""

from __future__ import annotations

import gc
import logging
from pathlib import Path

import pytest

from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.serve.sessions.opener import Opener
from adaptertune_deploy.serve.settings import Settings
from adaptertune_deploy.serve.tasks import held_files
from adaptertune_deploy.serve.tasks.held_files import HeldFiles
from tests.serve.tasks.bundles import FAKE, make_bundle

BOUNDED = Settings(slots=1)


@pytest.fixture
def opener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opener:
    folder = make_bundle(tmp_path, monkeypatch)
    return Opener(folder, bundle.read_manifest(folder), FAKE)


def test_a_file_is_held_as_long_as_its_opener(opener: Opener) -> None:
    held, record = HeldFiles(BOUNDED), opener.manifest.tasks[0]
    holding = held.holding(opener, record.file)
    (opener.folder / record.file).unlink()
    assert (len(held), holding.read(record).task) == (1, record.task)
    del holding
    gc.collect()
    assert len(held) == 0


def test_a_server_with_slots_for_all_holds_none(opener: Opener) -> None:
    assert HeldFiles(Settings()).holding(opener, opener.manifest.tasks[0].file) is opener


def test_what_is_gone_already_is_left_to_whoever_reads_it(opener: Opener) -> None:
    assert HeldFiles(BOUNDED).holding(opener, "adapters/gone.safetensors") is opener


def test_no_more_are_held_than_may_be_open_and_the_log_says_so_once(
    opener: Opener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(held_files, "for_files", lambda wanted, connections: 1)
    held, records = HeldFiles(BOUNDED), opener.manifest.tasks
    with caplog.at_level(logging.WARNING):
        openers = [held.holding(opener, record.file) for record in records[:3]]
    assert (len(held), [len(holding.held) for holding in openers]) == (1, [1, 0, 0])
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "ulimit -n" in caplog.text
