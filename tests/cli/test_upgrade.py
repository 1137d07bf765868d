from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from adaptertune_deploy.core.bundle import publish
from adaptertune_deploy.core.bundle.folder import read_manifest
from tests.cli.conftest import Atd

pytest.importorskip("onnx", reason="onnx makes this test's old bundle and converts it")


@pytest.fixture
def old(folder: Path) -> Path:
    """bundle/ as version 1 had it."""
    from tests.export.old_bundles import downgrade

    return downgrade(folder / "bundle")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_reader_says_the_command_that_mends_it(atd: Atd, old: Path) -> None:
    asked = ("predict", "images/0.png", "--json")
    refused = atd(*asked)
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == (
        "error: bundle/manifest.json: format_version is 1, this release reads 2; convert it with: atd upgrade bundle\n"
    )
    done = atd("upgrade", "bundle")
    assert (done.code, done.out, done.err) == (0, "bundle/ upgraded: 3 graphs, which answer as before\n", "")
    assert [answer["task"] for answer in json.loads(atd(*asked).out)] == ["birds", "cars"]


def test_a_name_with_blanks_is_quoted(atd: Atd, old: Path) -> None:
    shutil.move(old, "my bundle")
    refused = atd("predict", "images/0.png", "--bundle", "my bundle")
    assert refused.err.endswith("; convert it with: atd upgrade 'my bundle'\n")
    assert json.loads(atd("upgrade", "my bundle", "--json").out) == {
        "bundle": "my bundle",
        "format_version": 2,
        "converted": True,
    }


def test_a_bundle_of_this_version_is_left_alone(atd: Atd, folder: Path) -> None:
    before = contents(folder)
    done = atd("upgrade")
    assert (done.code, done.out, done.err) == (0, "bundle/ is of this version already\n", "")
    assert json.loads(atd("upgrade", "--json").out)["converted"] is False
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("place", "text"), [("images", "holds no manifest.json"), ("nowhere", "holds no manifest.json")]
)
def test_no_bundle_is_one_line(atd: Atd, place: str, text: str) -> None:
    done = atd("upgrade", place)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert text in done.err


def test_without_onnx_it_says_what_to_install(atd: Atd, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(old)
    monkeypatch.delitem(sys.modules, "adaptertune_deploy.export.upgrade", raising=False)
    monkeypatch.delattr("adaptertune_deploy.export.upgrade", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    done = atd("upgrade")
    assert (done.code, done.out) == (1, "")
    assert done.err == "error: upgrade needs onnx, which is not installed; pip install 'adaptertune-deploy[export]'\n"
    assert contents(old) == before


def test_an_interrupt_leaves_the_old_bundle(atd: Atd, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(old)
    monkeypatch.setattr(publish.Writer, "publish", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    done = atd("upgrade")
    assert (done.code, done.out, done.err) == (143, "", "stopped; nothing was written, bundle/ is as it was\n")
    assert contents(old) == before


def test_it_may_be_repeated(atd: Atd, old: Path) -> None:
    assert atd("upgrade").code == 0
    first = read_manifest(old)
    assert atd("upgrade").code == 0
    assert read_manifest(old) == first
