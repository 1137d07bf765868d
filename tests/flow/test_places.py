"""A place that can't be written, or has too little room, is found before any work, without torch."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flow.playing import Mistake, play, tree

NOWHERE = Path("/proc/atd")  # not even root can make a folder there
pytestmark = pytest.mark.skipif(not NOWHERE.parent.is_dir(), reason="needs /proc, which nobody can write")


@pytest.mark.parametrize("command", ["train --dataset digits", "export"])
def test_a_place_that_nobody_can_write(command: str, golden: Path) -> None:
    play(Mistake(f"{command} --out {NOWHERE}", ("--out", str(NOWHERE), "can't be written")), golden)


@pytest.mark.parametrize("command", ["train --dataset digits", "export"])
def test_a_link_to_nowhere(command: str, golden: Path) -> None:
    (golden / "link").symlink_to("gone")
    play(Mistake(f"{command} --out link", ("--out", "link")), golden)


@pytest.fixture
def tiny(golden: Path) -> Iterator[Path]:
    """Return a disk of 64 kB mounted below the golden folder."""
    place = golden / "tiny"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk is not allowed here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("command", ["train --dataset digits --out tiny/adapters", "export --out tiny/bundle"])
@pytest.mark.skipif(shutil.which("mount") is None, reason="there is no mount command")
def test_a_disk_without_room(command: str, golden: Path, tiny: Path) -> None:
    play(Mistake(command, ("--out", "tiny", "MB")), golden)
    assert tree(tiny) == {}


def test_a_read_only_bundle_takes_no_task_and_says_why(golden: Path) -> None:
    shutil.rmtree(golden / "bundle")
    (golden / "bundle").symlink_to("/proc/self")
    play(Mistake("add adapters/trees", ("bundle",), 1), golden)


def test_a_download_that_fails_leaves_no_folder(golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # the discard port: nothing listens, nothing leaves the machine
    words = "train --dataset pets --backbone vit_pico_patch8_64.atd_formula"
    play(Mistake(words, ("--data-dir",), 1, notes=True), golden, torch=True)
