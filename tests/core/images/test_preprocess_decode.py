"""core.images.preprocess.decode against torchvision's loader, and against hostile bytes."""

from __future__ import annotations

import io
import re
import struct
import sys
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps, PngImagePlugin

from adaptertune_deploy.core.errors import ImageError
from adaptertune_deploy.core.images import preprocess
from tests.builders import encode, make_image


def trained_on(data: bytes) -> np.ndarray:
    """The pixels that torchvision's ImageFolder reads: what its pil_loader does, which a device does not have."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK", "1"])
def test_the_comparison_is_with_what_torchvision_does(mode: str, tmp_path: Path) -> None:
    folder = pytest.importorskip("torchvision.datasets.folder", reason="torchvision is not installed")
    file = tmp_path / "image"
    file.write_bytes(encode(make_image(mode=mode), "JPEG" if mode == "CMYK" else "PNG"))
    np.testing.assert_array_equal(np.asarray(folder.pil_loader(str(file))), trained_on(file.read_bytes()))


def attempt(data: bytes) -> Image.Image | ImageError:
    try:
        return preprocess.decode(data)
    except ImageError as error:
        return error


def refused(data: bytes, *statuses: int) -> str:
    """Decode, which must fail with one of these statuses and a line that says nothing of the inside."""
    error = attempt(data)
    assert isinstance(error, ImageError)
    assert error.status in statuses
    message = str(error)
    assert not re.search(r"0x[0-9a-f]+|<|>|/|\\|\n|Traceback|PIL|BytesIO", message), message
    return message


# What is decoded: the pixels that training saw


def transparent_palette() -> bytes:
    return encode(make_image(mode="P"), transparency=bytes(range(256)))


MODES = {
    "jpeg": encode(make_image(), "JPEG", quality=80),
    "jpeg progressive": encode(make_image(), "JPEG", progressive=True),
    "jpeg 4:4:4": encode(make_image(), "JPEG", subsampling=0),
    "jpeg gray": encode(make_image(mode="L"), "JPEG"),
    "jpeg cmyk": encode(make_image(mode="CMYK"), "JPEG"),
    "jpeg of two frames": encode(make_image(), "MPO", save_all=True, append_images=[make_image(seed=1)]),
    "png": encode(make_image()),
    "png 1 bit": encode(make_image(mode="1")),
    "png gray": encode(make_image(mode="L")),
    "png gray transparent": encode(make_image(mode="L"), transparency=90),
    "png gray alpha": encode(make_image(mode="LA")),
    "png palette": encode(make_image(mode="P")),
    "png palette transparent": encode(make_image(mode="P"), transparency=3),
    "png palette alpha": transparent_palette(),
    "png rgb transparent": encode(make_image(), transparency=(1, 2, 3)),
    "png rgba": encode(Image.merge("RGBA", [*make_image().split(), make_image(seed=2).getchannel(0)])),
    "webp": encode(make_image(), "WEBP", quality=60),
    "webp lossless alpha": encode(make_image().convert("RGBA"), "WEBP", lossless=True, exact=True),
    "bmp": encode(make_image(), "BMP"),
    "bmp palette": encode(make_image(mode="P"), "BMP"),
    "gif": encode(make_image(mode="P"), "GIF"),
    "gif transparent": encode(make_image(mode="P"), "GIF", transparency=5),
    "gif gray": encode(make_image(mode="L"), "GIF"),
    "icc profile": encode(make_image(), "JPEG", icc_profile=b"no real profile" * 40),
}


@pytest.mark.case("D3", "CMYK, gray, 1 bit, palettes, alpha, transparency", "the pixels that training saw")
@pytest.mark.case("D6", "an ICC profile", "ignored, as in training")
@pytest.mark.parametrize("data", MODES.values(), ids=MODES)
def test_every_mode_decodes_as_in_training(data: bytes) -> None:
    image = preprocess.decode(data)
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), trained_on(data), strict=True)


def turned(orientation: int, kind: str, size: tuple[int, int] = (48, 40)) -> bytes:
    """A file whose EXIF names an orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(make_image(*size), kind, exif=exif)


def as_seen(data: bytes) -> np.ndarray:
    """The pixels as Pillow turns them."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


@pytest.mark.case("D5", "the eight EXIF orientations", "as the bundle says, as Pillow turns them")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "MPO"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_followed_as_pillow_does_or_ignored(orientation: int, kind: str) -> None:
    data = turned(orientation, kind)
    np.testing.assert_array_equal(np.asarray(preprocess.decode(data)), as_seen(data), strict=True)
    np.testing.assert_array_equal(np.asarray(preprocess.decode(data, "ignored")), trained_on(data), strict=True)
    assert (preprocess.decode(data).size == (40, 48)) == (orientation >= 5)


def test_exif_after_the_pixels_of_a_png_counts() -> None:
    data = turned(6, "PNG")
    start = data.index(b"eXIf") - 4
    end = start + 12 + struct.unpack(">I", data[start : start + 4])[0]
    tail = data.index(b"IEND") - 4
    moved = data[:start] + data[end:tail] + data[start:end] + data[tail:]
    np.testing.assert_array_equal(np.asarray(preprocess.decode(moved)), as_seen(data), strict=True)


def test_a_text_of_a_png_is_no_exif() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("exif", "II*")
    data = encode(make_image(), pnginfo=text)
    np.testing.assert_array_equal(np.asarray(preprocess.decode(data)), trained_on(data), strict=True)


@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
@pytest.mark.parametrize(("at_least", "size"), [(30, (60, 40)), (40, (60, 40)), (41, (120, 80)), (161, (240, 160))])
def test_a_jpeg_is_decoded_no_smaller_than_asked(kind: str, at_least: int, size: tuple[int, int]) -> None:
    data = turned(3, kind, (240, 160))
    small = preprocess.decode(data, at_least=at_least)
    assert small.size == size
    whole = np.asarray(preprocess.decode(data).resize(size, Image.Resampling.BOX)).astype(int)
    assert abs(np.asarray(small).astype(int) - whole).mean() < 4
    upside_down = np.asarray(preprocess.decode(data, "ignored").resize(size, Image.Resampling.BOX)).astype(int)
    assert abs(np.asarray(small).astype(int) - upside_down).mean() > 20


def test_other_formats_are_decoded_whole() -> None:
    for data in (MODES["png"], MODES["webp"], MODES["bmp"], MODES["gif"]):
        assert preprocess.decode(data, at_least=5).size == (48, 40)


@pytest.mark.case("D7", "animated GIF, PNG, WebP, MPO", "the first frame")
@pytest.mark.parametrize(
    ("kind", "options"),
    [("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("MPO", {})],
    ids=["gif", "apng", "webp", "mpo"],
)
def test_only_the_first_frame_of_an_animation_is_decoded(kind: str, options: dict[str, bool]) -> None:
    first, others = make_image(), [make_image(seed=seed) for seed in range(1, 6)]
    data = encode(first, kind, save_all=True, append_images=others, **options)
    np.testing.assert_array_equal(np.asarray(preprocess.decode(data)), trained_on(data))


@pytest.mark.case("D7", "a later frame that is damaged", "never reached")
def test_a_damaged_later_frame_is_never_reached() -> None:
    frames = [make_image(seed=seed, mode="L") for seed in range(3)]
    whole = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    alone = encode(frames[0], "GIF")
    damaged = whole[: len(alone) + 50] + b"\xff" * (len(whole) - len(alone) - 50)
    np.testing.assert_array_equal(np.asarray(preprocess.decode(damaged)), np.asarray(preprocess.decode(alone)))


@pytest.mark.case("D4", "16-bit gray", "scaled, never cut to white")
def test_sixteen_bit_gray_is_scaled_and_never_cut_to_white() -> None:
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    data = encode(Image.fromarray(deep))
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.mode.startswith("I")
    pixels = np.asarray(preprocess.decode(data))
    expected = np.round(deep / 257).astype(np.uint8)
    np.testing.assert_array_equal(pixels, np.repeat(expected[..., None], 3, axis=2), strict=True)
    assert (trained_on(data) == 255).mean() > 0.99


def test_numbers_of_which_nobody_knows_the_white_are_refused() -> None:
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    sixteen = preprocess.rgb(Image.fromarray(deep))
    np.testing.assert_array_equal(np.asarray(sixteen)[..., 0], np.round(deep / 257).astype(np.uint8))
    for kind, said in ((np.int32, "integers"), (np.float32, "floats")):
        with pytest.raises(ImageError, match=f"^the image holds 32-bit {said}, of which nobody knows"):
            preprocess.rgb(Image.fromarray(deep.astype(kind)))
    as_integers = Image.fromarray(deep.astype(np.int32))
    as_integers.format = "PNG"  # as which a file of 16 bits may be opened
    np.testing.assert_array_equal(np.asarray(preprocess.rgb(as_integers)), np.asarray(sixteen))


@pytest.mark.case("D4", "16-bit colour", "its upper byte")
def test_sixteen_bit_colour_keeps_its_upper_byte() -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (5, 7, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    data = png(struct.pack(">IIBBBBB", 7, 5, 16, 2, 0, 0, 0), zlib.compress(rows))
    np.testing.assert_array_equal(np.asarray(preprocess.decode(data)), deep >> 8)


# What is refused


def png(header: bytes, pixels: bytes, before: bytes = b"") -> bytes:
    """A PNG file with this IHDR and IDAT, and whole chunks `before` the pixels."""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header_only(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels: decoding it would fail, so 413 proves that nobody did."""
    return png(struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0), b"")


@pytest.mark.case("D1", "a PNG of 13,000 x 13,000 pixels and more", "413 from the header")
@pytest.mark.parametrize(("width", "height"), [(13_000, 13_000), (60_000, 60_000), (7_072, 7_072), (50_000_001, 1)])
def test_too_many_pixels_are_refused_from_the_header(width: int, height: int) -> None:
    assert "at most 50,000,000" in refused(header_only(width, height), 413)


@pytest.mark.case("D1", "a JPEG that claims 60,000 x 60,000 pixels", "413 from the header")
def test_a_jpeg_that_claims_a_huge_size_is_refused() -> None:
    data = bytearray(encode(make_image(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    refused(bytes(data), 413)


def test_the_pixel_limit_is_exact() -> None:
    data = encode(make_image(20, 10))
    assert preprocess.decode(data, max_pixels=200).size == (20, 10)
    with pytest.raises(ImageError, match="20 x 10 pixels, expected at most 199"):
        preprocess.decode(data, max_pixels=199)


def test_a_higher_limit_than_pillows_own_holds_and_leaves_that_one_alone() -> None:
    usual = Image.MAX_IMAGE_PIXELS
    large = header_only(20_000, 20_000)
    with pytest.raises(ImageError, match="truncated or damaged") as caught:  # its header passed, its pixels lack
        preprocess.decode(large, max_pixels=400_000_000)
    assert caught.value.status == 400
    with pytest.raises(ImageError, match="expected at most 399,999,999") as caught:
        preprocess.decode(large, max_pixels=399_999_999)
    assert caught.value.status == 413
    assert usual == Image.MAX_IMAGE_PIXELS


def test_a_size_is_read_from_the_header_alone() -> None:
    assert preprocess.size_of(header_only(60_000, 50_000)) == (60_000, 50_000)
    assert preprocess.size_of(turned(6, "JPEG")) == (48, 40)
    for data in (b"", b"an image, honestly"):
        with pytest.raises(ImageError):
            preprocess.size_of(data)


def test_an_elongated_image_passes_the_header_check() -> None:
    assert preprocess.decode(encode(make_image(65_500, 1))).size == (65_500, 1)


FOREIGN = {
    "text": b"an image, honestly",
    "url": b"http://169.254.169.254/",
    "html": b"<!doctype html><html></html>",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
    "pdf": b"%PDF-1.7\n",
    "zip": b"PK\x03\x04" + bytes(40),
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "psd": b"8BPS\0\1" + bytes(40),
    "fli": b"\x80\0\0\0\x12\xaf" + bytes(200),
    "tiff": encode(make_image(), "TIFF"),
    "tiff float": encode(Image.fromarray(np.ones((4, 4), dtype=np.float32)), "TIFF"),
    "ppm": encode(make_image(), "PPM"),
    "ico": encode(make_image(), "ICO"),
    "jpeg 2000": encode(make_image(), "JPEG2000"),
    "jpeg signature": b"\xff\xd8\xff\xe0",
    "zeros": bytes(1000),
}


@pytest.mark.case("D2", "HTML, SVG, PDF, ZIP, EPS, PSD, FLI, TIFF and others", "415")
@pytest.mark.parametrize("data", FOREIGN.values(), ids=FOREIGN)
def test_other_formats_are_refused(data: bytes) -> None:
    refused(data, 415)


def test_nothing_at_all_is_refused() -> None:
    assert "0 bytes" in refused(b"", 400)


@pytest.mark.case("D2", "images cut anywhere", "400, no part is classified")
@pytest.mark.parametrize("name", ["jpeg", "jpeg progressive", "png", "png palette alpha", "webp", "bmp", "gif"])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.99])
def test_no_part_of_a_truncated_image_is_answered(name: str, share: float) -> None:
    data = MODES[name]
    refused(data[: int(len(data) * share)], 400, 415)


def test_truncated_images_stay_refused_in_the_whole_process() -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_a_png_with_damaged_pixels_is_refused() -> None:
    data = bytearray(MODES["png"])
    start = data.index(b"IDAT") + 4
    for position in range(start, len(data) - 16, 97):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        refused(bytes(damaged), 400)


def test_a_png_with_a_bad_header_checksum_is_refused() -> None:
    data = bytearray(MODES["png"])
    data[data.index(b"IHDR") + 17] ^= 1
    refused(bytes(data), 400, 415)


@pytest.mark.case("D9", "a PNG with 10 MB of compressed text", "400")
def test_a_png_with_megabytes_of_compressed_text_is_refused() -> None:
    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    text = chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(10_000_000)))
    refused(png(header, zlib.compress(b"\0\0"), before=text), 400)


# Warnings are errors in this suite: each of these would raise if one got out.


def test_odd_metadata_neither_warns_nor_refuses() -> None:
    bad_exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(range(100))
    animation = chunk(b"acTL", struct.pack(">II", 0, 0))
    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    for data in (
        encode(make_image(), "JPEG", exif=bad_exif),
        png(header, zlib.compress(b"\0\7"), before=animation),
        transparent_palette(),
    ):
        assert preprocess.decode(data).mode == "RGB"


@pytest.fixture
def restless_threads() -> Iterator[None]:
    """Let threads change places as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("restless_threads")
def test_threads_that_read_headers_at_once_mute_warnings_and_restore_them() -> None:
    filters = list(warnings.filters)
    images = [MODES["jpeg"], MODES["png palette alpha"], MODES["webp"], header_only(13_000, 13_000)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(attempt, images * 25))
    assert warnings.filters == filters
    expected = [trained_on(data) for data in images[:3]]
    for index, answer in enumerate(answers):
        if index % 4 == 3:
            assert isinstance(answer, ImageError)
        else:
            np.testing.assert_array_equal(np.asarray(answer), expected[index % 4])


@pytest.mark.case("D2", "damaged images", "an image or 4xx, nothing else")
@given(
    name=st.sampled_from(sorted(MODES)),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.floats(0.5, 1),
)
def test_damaged_bytes_give_an_image_or_an_image_error(name: str, edits: list[tuple[float, int]], cut: float) -> None:
    data = bytearray(MODES[name])
    for place, value in edits:
        data[int(place * len(data))] = value
    damaged = bytes(data[: int(cut * len(data))])
    answer = attempt(damaged)
    if isinstance(answer, ImageError):
        refused(damaged, 400, 413, 415)
    else:
        assert answer.mode == "RGB"
        assert np.asarray(answer).shape == (answer.height, answer.width, 3)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        preprocess.decode(data)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "I;16"])
def test_an_image_in_memory_becomes_what_its_file_becomes(mode: str) -> None:
    deep = Image.fromarray(np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32))
    image = deep if mode == "I;16" else make_image(mode=mode)
    before = image.mode, image.tobytes()
    found = preprocess.rgb(image)
    wanted = image.convert("RGB") if mode == "CMYK" else preprocess.decode(encode(image))  # no PNG holds CMYK
    assert (found.mode, found.tobytes()) == ("RGB", wanted.tobytes())
    assert (image.mode, image.tobytes()) == before
