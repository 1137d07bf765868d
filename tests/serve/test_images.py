from __future__ import annotations

import asyncio
import dataclasses
import io
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, ImageOps

from adaptertune_deploy.core import preprocess
from adaptertune_deploy.core.errors import ImageError
from adaptertune_deploy.serve.images import ImagePool
from tests.builders import encode, make_image, make_preprocess_spec
from tests.serve.fakes import WAIT_S

SPEC = make_preprocess_spec()


@pytest.fixture
def pool() -> Iterator[ImagePool]:
    pool = ImagePool(SPEC, threads=2, max_pixels=10_000)
    yield pool
    pool.close()


def test_images_come_back_in_order_as_offline(pool: ImagePool) -> None:
    encoded = [encode(make_image(seed=seed), kind) for seed, kind in enumerate(("PNG", "JPEG", "BMP"))]
    pixels = asyncio.run(pool.load(encoded))
    assert pixels.dtype == np.float32
    for found, data in zip(pixels, encoded, strict=True):
        np.testing.assert_array_equal(found, preprocess.preprocess(data, SPEC))


def test_a_bad_image_among_several_is_named(pool: ImagePool) -> None:
    good = encode(make_image())
    with pytest.raises(ImageError, match=r"^image 2 of 3: "):
        asyncio.run(pool.load([good, b"<svg/>", good]))
    with pytest.raises(ImageError, match=r"^the "):
        asyncio.run(pool.load([b"<svg/>"]))


def test_the_pixel_limit_is_the_pools(pool: ImagePool) -> None:
    with pytest.raises(ImageError) as caught:
        asyncio.run(pool.load([encode(make_image(101, 100))]))
    assert caught.value.status == 413


@pytest.mark.parametrize("orientation", ["exif", "ignored"])
def test_the_spec_decides_whether_images_are_turned(orientation: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(make_image(48, 40), "JPEG", exif=exif)
    spec = dataclasses.replace(SPEC, orientation=orientation)
    pool = ImagePool(spec, threads=1, max_pixels=10_000)
    (found,) = asyncio.run(pool.load([data]))
    pool.close()
    with Image.open(io.BytesIO(data)) as stored:
        seen = ImageOps.exif_transpose(stored) if orientation == "exif" else stored
        np.testing.assert_array_equal(found, preprocess.transform(seen.convert("RGB"), SPEC))


def test_no_more_images_than_threads_are_decoded_at_once(pool: ImagePool, monkeypatch: pytest.MonkeyPatch) -> None:
    decode, lock, meeting = preprocess.decode, threading.Lock(), threading.Barrier(2)
    inside, most = 0, 0

    def counting(data: bytes, orientation: str, max_pixels: int) -> Image.Image:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        meeting.wait(WAIT_S)
        image = decode(data, orientation, max_pixels)
        with lock:
            inside -= 1
        return image

    monkeypatch.setattr(preprocess, "decode", counting)
    asyncio.run(pool.load([encode(make_image())] * 6))
    assert most == 2


def test_cancelling_drops_what_has_not_begun(pool: ImagePool, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, gate, decode = threading.Semaphore(0), threading.Event(), preprocess.decode
    count = 0

    def waiting(data: bytes, orientation: str, max_pixels: int) -> Image.Image:
        nonlocal count
        count += 1
        begun.release()
        gate.wait(WAIT_S)
        return decode(data, orientation, max_pixels)

    async def play() -> None:
        work = asyncio.ensure_future(pool.load([encode(make_image())] * 6))
        for _ in range(2):
            await asyncio.to_thread(begun.acquire, timeout=WAIT_S)
        work.cancel()
        await asyncio.wait([work])
        gate.set()

    monkeypatch.setattr(preprocess, "decode", waiting)
    asyncio.run(play())
    pool.close()
    assert count == 2
