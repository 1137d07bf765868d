from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adaptertune_deploy.cli.quickstart import command, served
from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.core.errors import AtdError
from adaptertune_deploy.core.progress import Progress
from adaptertune_deploy.export import exporter, plan
from tests.builders import with_parity
from tests.cli.conftest import Atd


def test_a_bundle_without_a_parity_check_is_refused(folder: Path) -> None:
    manifest = read_manifest(folder / "bundle")
    with pytest.raises(AtdError, match="'birds' was exported without a parity check"):
        command._check_agreement(manifest)
    command._check_agreement(with_parity(manifest))


def test_a_log_hears_of_every_stage_and_results_stay_clean(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(adapters: Path, task: str, rank: int, epochs: int, progress: Progress) -> Any:
        progress(f"{task}: all images", 1, 2)
        progress(f"{task}: all images", 2, 2)
        return SimpleNamespace(folder=adapters / task)

    monkeypatch.setattr(command, "_train", train)
    monkeypatch.setattr(plan, "plan_export", lambda *_, **__: "plan")
    monkeypatch.setattr(exporter, "export_bundle", lambda given, progress: progress("shared graph", 1, 2) or given)
    monkeypatch.setattr(served, "ask_server", lambda *given: given[2]("serve digits", 1, 1))
    command._run(folder, 8, 0)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == ["digits: all images", "shapes: all images", "shared graph", "serve digits"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_it_never_touches_anybodys_adapters_or_bundle(atd: Atd, folder: Path) -> None:
    before = contents(folder)
    done = atd("quickstart", "--out", ".")
    assert (done.code, done.out) == (2, "")
    assert done.err == ("error: --out .: holds images, which no quickstart made; give another folder: --out FOLDER\n")
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(["--rank", "0"], "--rank 0: expected"), (["--epochs", "-1"], "--epochs -1: expected")],
)
def test_mistakes(atd: Atd, folder: Path, arguments: list[str], text: str) -> None:
    done = atd("quickstart", *arguments)
    assert (done.code, done.out) == (2, "")
    assert text in done.err
    assert not (folder / "quickstart").exists()


def test_an_interrupt_says_which_parts_are_finished(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_run", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    done = atd("quickstart")
    assert (done.code, done.out, done.err) == (143, "", "stopped; nothing was written\n")
