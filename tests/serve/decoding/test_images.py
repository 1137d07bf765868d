from __future__ import annotations

import asyncio
import dataclasses
import io
import queue
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from adaptertune_deploy.core.errors import ImageError, RequestError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.serve.decoding import images
from adaptertune_deploy.serve.decoding.images import ImagePool
from adaptertune_deploy.serve.settings import Settings
from adaptertune_deploy.serve.timing.deadline import Deadline, expired
from tests.builders import encode, make_image, make_preprocess_spec
from tests.core.images.test_jpeg_scans import repeated
from tests.serve.fakes import WAIT_S

SPEC = make_preprocess_spec()
SETTINGS = Settings(decode_threads=2, max_pixels=10_000)


@pytest.fixture
def pool() -> Iterator[ImagePool]:
    pool = ImagePool(SPEC, SETTINGS)
    yield pool
    pool.close()


def test_images_come_back_in_order_as_offline(pool: ImagePool) -> None:
    encoded = [encode(make_image(seed=seed), kind) for seed, kind in enumerate(("PNG", "JPEG", "BMP"))]
    pixels = asyncio.run(pool.load(encoded))
    assert pixels.dtype == np.float32
    for found, data in zip(pixels, encoded, strict=True):
        np.testing.assert_array_equal(found, preprocess.preprocess(data, SPEC))


def test_only_the_wanted_images_are_decoded_and_paid_for(pool: ImagePool) -> None:
    encoded = [encode(make_image(20, 10 + seed, seed=seed)) for seed in range(3)]

    async def play() -> Array:
        sizes = await pool.measure([*encoded, encoded[0][:-30]])
        assert sizes == [200, 220, 240, 200]
        work = asyncio.ensure_future(pool.load([*encoded, encoded[0][:-30]], sizes=sizes, wanted=[2, 0]))
        await asyncio.sleep(0)
        assert pool.budget.used == 440
        return await work

    pixels = asyncio.run(play())
    for found, data in zip(pixels, [encoded[2], encoded[0]], strict=True):
        np.testing.assert_array_equal(found, preprocess.preprocess(data, SPEC))


def test_measuring_finds_what_a_header_tells(pool: ImagePool) -> None:
    good = encode(make_image())
    for bad, status in ((b"<svg/>", 415), (encode(make_image(101, 100)), 413)):
        with pytest.raises(ImageError, match=r"^image 2 of 2: ") as caught:
            asyncio.run(pool.measure([good, bad]))
        assert caught.value.status == status
    assert pool.is_small([good])
    assert not pool.is_small([good, good])
    assert not pool.is_small([good + bytes(images.PORTION)])


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
    pool = ImagePool(spec, SETTINGS)
    (found,) = asyncio.run(pool.load([data]))
    pool.close()
    with Image.open(io.BytesIO(data)) as stored:
        seen = ImageOps.exif_transpose(stored) if orientation == "exif" else stored
        np.testing.assert_array_equal(found, preprocess.transform(seen.convert("RGB"), SPEC))


@pytest.mark.case("D13", "more images than threads", "no more at once than threads")
def test_no_more_images_than_threads_are_decoded_at_once(pool: ImagePool, monkeypatch: pytest.MonkeyPatch) -> None:
    decode, lock, meeting = preprocess.decode, threading.Lock(), threading.Barrier(2)
    inside, most = 0, 0

    def counting(*arguments: Any, **options: Any) -> Image.Image:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        meeting.wait(WAIT_S)
        image = decode(*arguments, **options)
        with lock:
            inside -= 1
        return image

    monkeypatch.setattr(preprocess, "decode", counting)
    asyncio.run(pool.load([encode(make_image())] * 6))
    assert most == 2


def test_cancelling_drops_what_has_not_begun(pool: ImagePool, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, gate, decode = threading.Semaphore(0), threading.Event(), preprocess.decode
    count = 0

    def waiting(*arguments: Any, **options: Any) -> Image.Image:
        nonlocal count
        count += 1
        begun.release()
        gate.wait(WAIT_S)
        return decode(*arguments, **options)

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


class Gates:
    """Decodes an image only when told to; notes which ones were begun, by the red of their first pixel."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.going = threading.Semaphore(0)
        self._decode = preprocess.decode
        monkeypatch.setattr(preprocess, "decode", self._waiting)

    def _waiting(self, *arguments: Any, **options: Any) -> Image.Image:
        image = self._decode(*arguments, **options)
        self.begun.put(image.getpixel((0, 0))[0])  # type: ignore[index]
        assert self.going.acquire(timeout=WAIT_S)
        return image

    async def next(self) -> int:
        return await asyncio.to_thread(self.begun.get, timeout=WAIT_S)


def named(red: int, side: int = 8) -> bytes:
    return encode(Image.new("RGB", (side, side), (red, 0, 0)))


@pytest.mark.case("D13", "a request full of slow images", "others take turns with it")
def test_requests_take_turns_image_by_image(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> list[int]:
        pool, gates = ImagePool(SPEC, Settings(decode_threads=1)), Gates(monkeypatch)
        many = asyncio.ensure_future(pool.load([named(red) for red in (1, 2, 3)]))
        order = [await gates.next()]
        one = asyncio.ensure_future(pool.load([named(9)]))
        while len(pool._queue) < 2:
            await asyncio.sleep(0)
        for _ in range(3):
            gates.going.release()
            order.append(await gates.next())
        gates.going.release()
        await asyncio.gather(many, one)
        pool.close()
        return order

    assert asyncio.run(play()) == [1, 2, 9, 3]


@pytest.mark.case("D9", "headers that take long to read", "others take turns with them")
def test_requests_take_turns_in_the_reading_of_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A header can be made to take long to read; small images of one request are read in one go."""
    small, large = encode(make_image()), encode(make_image()) + bytes(images.PORTION)
    order: list[int] = []

    def size_of(data: bytes, max_pixels: int | None = None) -> tuple[int, int]:
        order.append(len(data))
        return 1, 1

    monkeypatch.setattr(preprocess, "size_of", size_of)

    async def run() -> None:
        pool = ImagePool(SPEC, SETTINGS)
        await asyncio.gather(pool.load([large] * 3), pool.load([small] * 3))
        pool.close()

    asyncio.run(run())
    assert order == [len(large), *[len(small)] * 3, len(large), len(large)]


@pytest.mark.case("D13", "large images in every thread", "one thread stays for others")
def test_large_images_leave_a_thread_to_the_small(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> set[int]:
        monkeypatch.setattr(images, "LARGE", 100)
        pool, gates = ImagePool(SPEC, Settings(decode_threads=2)), Gates(monkeypatch)
        large = asyncio.ensure_future(pool.load([named(red, side=20) for red in (1, 2)]))
        begun = {await gates.next()}
        small = asyncio.ensure_future(pool.load([named(9), named(8)]))
        begun.add(await gates.next())
        gates.going.release(10)
        await asyncio.gather(large, small)
        pool.close()
        return begun

    assert asyncio.run(play()) == {1, 9}


def test_one_image_that_finds_a_thread_idle_is_read_and_decoded_in_one_go(
    pool: ImagePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> list[int]:
        raise AssertionError("a header was read by itself")

    monkeypatch.setattr(pool, "_portion", never)
    data = encode(make_image())
    np.testing.assert_array_equal(asyncio.run(pool.load([data]))[0], preprocess.preprocess(data, SPEC))
    assert pool.budget.used == 0
    for several in ([data, data], [data + bytes(images.PORTION)]):
        with pytest.raises(AssertionError, match="by itself"):
            asyncio.run(pool.load(several))


def test_one_image_whose_size_may_not_fit_is_asked_for_it_first() -> None:
    """Nothing that fits is refused for what it could have been."""
    data = encode(make_image(20, 20))
    pool = ImagePool(SPEC, Settings(pixels_limit=400))
    assert asyncio.run(pool.load([data])).shape == (1, 3, *SPEC.size)
    pool.close()
    pool = ImagePool(SPEC, Settings(pixels_limit=399))
    with pytest.raises(RequestError, match="400 more do not fit"):
        asyncio.run(pool.load([data]))
    pool.close()


def test_one_image_that_proves_to_be_large_waits_for_its_turn_like_any(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> list[int]:
        monkeypatch.setattr(images, "LARGE", 100)
        pool, gates = ImagePool(SPEC, Settings(decode_threads=2)), Gates(monkeypatch)
        large = asyncio.ensure_future(pool.load([named(red, side=20) for red in (1, 2)]))
        order = [await gates.next()]
        one = asyncio.ensure_future(pool.load([named(7, side=30)]))
        while pool.budget.used != 2 * 400 + 900:
            await asyncio.sleep(0)
        small = asyncio.ensure_future(pool.load([named(9)]))
        order.append(await gates.next())
        gates.going.release(10)
        await asyncio.gather(large, one, small)
        assert pool.budget.used == 0
        pool.close()
        return order

    assert asyncio.run(play()) == [1, 9]


def test_one_image_that_proves_to_be_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for settings, message in (
        (Settings(max_pixels=100), "20 x 20 pixels, expected at most 100"),
        (Settings(request_pixels=100), "400 pixels, expected at most 100 in one request"),
        (Settings(pixels_limit=300), "200 of 300 pixels are taken and 200 more do not fit"),
    ):
        monkeypatch.setattr(images, "LARGE", 200)
        pool = ImagePool(SPEC, settings)
        with pytest.raises((ImageError, RequestError), match=message):
            asyncio.run(pool.load([named(1, side=20)]))
        assert (pool.budget.used, pool._idle) == (0, settings.decode_threads)
        pool.close()


@pytest.mark.case(
    "D1", "more pixels than an image, a request or all requests may have", "413, 413, 503, from the headers"
)
def test_pixels_are_counted_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        pool = ImagePool(SPEC, Settings(max_pixels=100, request_pixels=150, pixels_limit=200))
        with pytest.raises(ImageError, match=r"image 2 of 2: .* 11 x 10 pixels, expected at most 100") as caught:
            await pool.load([named(1), encode(Image.new("L", (11, 10)))])
        assert caught.value.status == 413
        with pytest.raises(ImageError, match="192 pixels, expected at most 150 in one request") as caught:
            await pool.load([named(1)] * 3)
        assert caught.value.status == 413
        gates = Gates(monkeypatch)
        waiting = [asyncio.ensure_future(pool.load([named(1)] * 2)), asyncio.ensure_future(pool.load([named(1)]))]
        await gates.next()
        while pool.budget.used < 192:
            await asyncio.sleep(0)
        with pytest.raises(RequestError, match="192 of 200 pixels are taken and 64 more do not fit") as full:
            await pool.load([named(1)])
        assert full.value.status == 503
        gates.going.release(10)
        await asyncio.gather(*waiting)
        assert pool.budget.used == 0
        pool.close()

    asyncio.run(play())


@pytest.mark.case(
    "D9", "a progressive JPEG of hundreds of scans", "413 where it is as much work as an image of too many pixels"
)
def test_the_scans_of_a_jpeg_are_counted() -> None:
    async def play() -> None:
        pool = ImagePool(SPEC, Settings(max_pixels=1_000_000))
        usual = encode(make_image(990, 990), "JPEG", progressive=True)
        await pool.load([usual, repeated(make_image(90, 90), 500)])
        with pytest.raises(ImageError, match=r"^image 2 of 2: .* come in 510 scans, as much work as 31,") as caught:
            await pool.load([usual, repeated(make_image(990, 990), 500)])
        assert caught.value.status == 413
        pool.close()

    asyncio.run(play())


class PassedMeanwhile(Deadline):
    """One that passes once an image is being decoded, and that its thread notes first."""

    def check(self, doing: str) -> None:
        raise expired(doing)


@pytest.mark.case("D9", "an image that takes long, and nobody waits", "ends at its next block")
def test_a_decoding_that_nobody_waits_for_ends_before_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a megapixel is decoded block by block; the second block is not begun."""
    blocks, ended = 0, threading.Event()
    decode = preprocess.decode

    def counting(*arguments: Any, check: Any, **options: Any) -> Image.Image:
        def counted() -> None:
            nonlocal blocks
            blocks += 1
            check()

        try:
            return decode(*arguments, check=counted, **options)
        finally:
            ended.set()

    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise))

    async def play(deadline: Deadline) -> None:
        pool = ImagePool(SPEC, Settings(decode_threads=1))
        try:
            await pool.load([data], deadline)
        finally:
            pool.close()

    monkeypatch.setattr(preprocess, "decode", counting)
    asyncio.run(play(Deadline()))
    whole, blocks = blocks, 0
    ended.clear()
    with pytest.raises(RequestError, match="the deadline passed while the images were decoded") as caught:
        asyncio.run(play(PassedMeanwhile()))
    assert caught.value.status == 504
    assert ended.wait(WAIT_S)
    assert blocks == 1 < whole


def test_a_deadline_that_passes_while_others_are_decoded_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the deadline, not when a thread comes to it."""

    async def play() -> None:
        pool, gates = ImagePool(SPEC, Settings(decode_threads=1)), Gates(monkeypatch)
        busy = asyncio.ensure_future(pool.load([named(1)]))
        await gates.next()
        with pytest.raises(RequestError, match="the deadline passed while the images were decoded"):
            await pool.load([named(2)], Deadline(monotonic() + 0.01))
        assert (pool.budget.used, len(pool._queue)) == (images.LARGE, 0)
        gates.going.release()
        await busy
        pool.close()

    asyncio.run(play())
