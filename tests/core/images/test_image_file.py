"""core.images.image_file: files and pipes are read to their end, what has none is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import ImageError
from adaptertune_deploy.core.images import image_file
from adaptertune_deploy.core.images.image_file import read_image


def test_a_file_and_a_pipe_give_their_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"image")
    assert read_image(tmp_path / "file") == b"image"
    reading, writing = os.pipe()
    os.write(writing, b"from a pipe")
    os.close(writing)
    try:
        assert read_image(Path(f"/dev/fd/{reading}")) == b"from a pipe"
    finally:
        os.close(reading)


def test_what_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_file, "MOST", 100_000)
    with pytest.raises(ImageError, match=r"^/dev/zero: holds more than 100,000 bytes, which no image has that is read"):
        read_image(Path("/dev/zero"))


def test_what_is_absent_is_the_caller_s_to_say(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "none")
