"""The command line in this process, in a folder of its own."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from adaptertune_deploy.cli import main
from adaptertune_deploy.core.bundle.folder import read_manifest, write_manifest
from tests.builders import with_parity

GOLDEN = Path(__file__).parents[1] / "device" / "golden"


class Done(NamedTuple):
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


Atd = Callable[..., Done]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with the golden bundle and adapters in it."""
    shutil.copytree(GOLDEN / "bundle", tmp_path / "bundle")
    shutil.copytree(GOLDEN / "adapters", tmp_path / "adapters")
    shutil.copytree(GOLDEN / "images", tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def atd(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Atd:
    """Return a function that runs atd as the console script does."""

    def run(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["atd", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.run()
        printed = capfd.readouterr()
        code = ended.value.code
        return Done(code if isinstance(code, int) else 0 if code is None else 1, printed.out, printed.err)

    return run


@pytest.fixture
def measured(folder: Path) -> Path:
    """The golden bundle, whose graphs were measured with all that they answer but one."""
    manifest = with_parity(read_manifest(folder / "bundle"))
    manifest = type(manifest)(**{**vars(manifest), "parity": manifest.parity[:-1]})
    write_manifest(folder / "bundle", manifest)
    return folder / "bundle"
