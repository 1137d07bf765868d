from __future__ import annotations

import hashlib
import struct
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.data.looks import scan as scanning
from adaptertune_deploy.data.looks.fingerprint import fingerprint
from adaptertune_deploy.data.looks.scan import Look, scan
from adaptertune_deploy.data.samples import FileReader, Split
from tests.data.builders import make_split
from tests.data.scenes import save_scene, scene


def split_of(root: Path, *names: str) -> Split:
    return Split(names, np.arange(len(names), dtype=np.int64), FileReader(root))


def look_at(path: Path) -> Look:
    (look,) = scan({"train": split_of(path.parent, path.name)})
    return look


def test_what_is_known_of_a_sound_file(tmp_path: Path) -> None:
    look = look_at(save_scene(tmp_path / "a.PNG", 1, (60, 40)))
    assert (look.split, look.name, look.label, look.error) == ("train", "a.PNG", 0, "")
    assert look.sha256 == hashlib.sha256((tmp_path / "a.PNG").read_bytes()).hexdigest()
    assert (look.suffix, look.format, look.mode, look.width, look.height) == (".png", "PNG", "RGB", 60, 40)
    assert (look.orientation, look.deep, look.transparent, look.animated) == (1, False, False, False)
    assert look.print == fingerprint(scene(1, (60, 40)))


def test_images_in_memory_are_looked_at_too() -> None:
    split = make_split([2, 1], side=20)
    looks = scan({"train": split})
    assert [(look.name, look.label) for look in looks] == [("train/0", 0), ("train/1", 0), ("train/2", 1)]
    assert looks[2].print == fingerprint(split.image(2))


def test_the_order_is_that_of_the_splits_and_every_file_is_read_once(tmp_path: Path) -> None:
    reads: Counter[str] = Counter()

    class Counting(FileReader):
        def encoded(self, name: str) -> tuple[bytes, str]:
            reads[name] += 1
            return super().encoded(name)

    names = tuple(f"{number}.png" for number in range(30))
    for number, name in enumerate(names):
        save_scene(tmp_path / name, number, (40, 40))
    reader = Counting(tmp_path)
    parts = {"train": names[:20], "test": names[20:]}
    splits = {part: Split(own, np.zeros(len(own), dtype=np.int64), reader) for part, own in parts.items()}
    reports: list[tuple[str, int, int]] = []
    looks = scan(splits, lambda *report: reports.append(report))
    assert [(look.split, look.name) for look in looks] == [(part, name) for part, own in parts.items() for name in own]
    assert set(reads.values()) == {1}
    assert len(reads) == 30
    assert reports == [("reading images", done, 30) for done in range(31)]


def test_unreadable_files_say_why_and_stop_nothing(tmp_path: Path) -> None:
    whole = save_scene(tmp_path / "good.jpg", 1).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "folder.jpg").mkdir()
    looks = scan(
        {"train": split_of(tmp_path, "cut.jpg", "empty.jpg", "text.jpg", "gone.jpg", "folder.jpg", "good.jpg")}
    )
    assert [look.error for look in looks][:3] == [
        "truncated or damaged",
        "empty (0 bytes)",
        "data is not a JPEG, PNG, WebP, BMP or GIF image",
    ]
    assert looks[3].error == "no such file"
    assert looks[4].error
    assert all(str(tmp_path) not in look.error and ";" not in look.error for look in looks)
    assert looks[5].error == ""
    assert looks[5].print is not None
    assert all(look.print is None for look in looks[:5])


@pytest.mark.parametrize(
    ("suffix", "orientation", "size"), [(".jpg", 6, (30, 50)), (".jpg", 3, (50, 30)), (".png", 8, (30, 50))]
)
def test_the_size_is_that_of_the_upright_image(
    tmp_path: Path, suffix: str, orientation: int, size: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    look = look_at(save_scene(tmp_path / f"a{suffix}", 1, (50, 30), exif=exif))
    assert look.orientation == orientation
    assert (look.width, look.height) == size
    turned = ImageOps.exif_transpose(Image.open(tmp_path / f"a{suffix}"))
    assert look.print == fingerprint(turned)


@pytest.mark.parametrize("exif", [b"Exif\0\0" + b"\x00" * 3, b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x99" * 40])
def test_damaged_exif_data_is_no_reason_to_lose_the_image(tmp_path: Path, exif: bytes) -> None:
    look = look_at(save_scene(tmp_path / "a.jpg", 1, exif=exif))
    assert (look.orientation, look.error) == (1, "")


def gradient(dtype: Any) -> np.ndarray[Any, np.dtype[Any]]:
    return np.linspace(0, np.iinfo(dtype).max, 40 * 40).reshape(40, 40).astype(dtype)


STORED: dict[str, tuple[str, Image.Image, dict[str, Any], dict[str, Any]]] = {
    "cmyk": (".jpg", scene(1).convert("CMYK"), {}, {"mode": "CMYK"}),
    "grey": (".png", scene(1).convert("L"), {}, {"mode": "L", "deep": False}),
    "16 bit": (".png", Image.fromarray(gradient(np.uint16)), {}, {"deep": True, "mode": "I;16"}),
    "alpha": (".png", scene(1).convert("RGBA"), {}, {"transparent": True, "mode": "RGBA"}),
    "grey and alpha": (".png", scene(1).convert("LA"), {}, {"transparent": True}),
    "palette": (".png", scene(1).quantize(16), {}, {"mode": "P", "transparent": False}),
    "palette with a hole": (".png", scene(1).quantize(16), {"transparency": 3}, {"transparent": True}),
    "animated": (".gif", scene(1), {"save_all": True, "append_images": [scene(2)]}, {"animated": True}),
    "one frame": (".gif", scene(1), {}, {"animated": False}),
}


@pytest.mark.parametrize("name", STORED)
def test_how_pixels_are_stored(tmp_path: Path, name: str) -> None:
    suffix, image, options, expected = STORED[name]
    image.save(tmp_path / f"a{suffix}", **options)
    look = look_at(tmp_path / f"a{suffix}")
    assert look.error == ""
    assert {field: getattr(look, field) for field in expected} == expected


def test_colours_of_16_bits_are_deep(tmp_path: Path) -> None:
    # Pillow reads such a PNG and does not write one.
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + b"\x12\x34" * 3))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))
    look = look_at(tmp_path / "a.png")
    assert (look.mode, look.deep, look.error) == ("RGB", True, "")


def test_a_content_under_another_suffix_is_told_by_the_content(tmp_path: Path) -> None:
    save_scene(tmp_path / "a.png", 1).rename(tmp_path / "a.jpg")
    look = look_at(tmp_path / "a.jpg")
    assert (look.format, look.suffix) == ("PNG", ".jpg")


def test_a_photograph_larger_than_the_server_takes_is_reduced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = save_scene(tmp_path / "a.jpg", 1, (800, 640)).read_bytes()
    save_scene(tmp_path / "b.png", 1, (800, 640))
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    full = look_at(tmp_path / "a.jpg")
    monkeypatch.setattr(preprocess, "MAX_PIXELS", 800 * 640 - 1)
    monkeypatch.setattr(scanning, "LARGE", 400 * 300)
    jpeg, png, cut = scan({"train": split_of(tmp_path, "a.jpg", "b.png", "cut.jpg")})
    assert full.print is not None
    for look in (jpeg, png):
        assert (look.error, look.width, look.height) == ("", 800, 640)
        assert look.print is not None
        assert bin(look.print.hash ^ full.print.hash).count("1") <= 4
        assert look.print.pixels != full.print.pixels
    assert cut.error == "truncated or damaged"


def test_one_that_training_refuses_too_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_scene(tmp_path / "a.png", 1, (80, 64))
    monkeypatch.setattr(preprocess, "MAX_OFFLINE_PIXELS", 80 * 64 - 1)
    assert look_at(tmp_path / "a.png").error == "image has 80 x 64 pixels, expected at most 5,119 in all"


def test_reduced_reading_still_knows_copies(tmp_path: Path) -> None:
    save_scene(tmp_path / "a.jpg", 1, (800, 640))
    Image.open(tmp_path / "a.jpg").save(tmp_path / "b.png")
    split = split_of(tmp_path, "a.jpg", "b.png")
    (jpeg, png), (fast, same) = scan({"train": split}), scan({"train": split}, reduced=True)
    assert jpeg.print is not None
    assert fast.print is not None
    assert png.print is not None
    assert same == png
    assert jpeg.print.pixels == png.print.pixels != fast.print.pixels
    assert bin(jpeg.print.hash ^ fast.print.hash).count("1") <= 4


def test_large_photographs_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "LARGE", 100)
    names = [f"{number}.png" for number in range(12)]
    for number, name in enumerate(names):
        save_scene(tmp_path / name, number, (40, 40))
    running, most = 0, 0

    def decode(data: bytes, **options: Any) -> Image.Image:
        nonlocal running, most
        running += 1
        most = max(most, running)
        image = original(data, **options)
        running -= 1
        return image

    original = preprocess.decode
    monkeypatch.setattr(preprocess, "decode", decode)
    looks = scan({"train": split_of(tmp_path, *names)})
    assert all(look.print == fingerprint(scene(number, (40, 40))) for number, look in enumerate(looks))
    assert most <= 2
