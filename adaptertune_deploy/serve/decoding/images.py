"""Encoded images to model input, in a few threads, so that the event loop keeps answering.

Requests take turns image by image, and not every thread is ever busy with large images, so that one request full of
them delays nobody else by much. A decoding that nobody waits for any more ends at its next block.

What an image costs is read from its header first, in a thread of its own. One image that finds a thread idle goes there
at once, header and all, and comes back undecoded where it proves to be large.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from adaptertune_deploy.core.errors import ImageError, RequestError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.core.images.jpeg_scans import scans
from adaptertune_deploy.core.spec import PreprocessSpec
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.serve.batching.budget import Budget, Share
from adaptertune_deploy.serve.settings import Settings
from adaptertune_deploy.serve.timing.deadline import Deadline

PORTION = 262_144  # bytes of images whose headers are read before another request has its turn
LARGE = 4_000_000  # pixels; a few tenths of a second where an image is made to be slow
SCANS = 16  # of a JPEG; programs write up to about a dozen
NEVER = Deadline()
DECODING = "the images were decoded"


@dataclass(eq=False)
class _Work:
    """The images of one request.

    encoded: all of them. sizes: pixels of each; none where they are not known yet.
    pixels: of those that are wanted, in the order of `wanted`, their places.
    waiting: places of images that no thread has begun.
    share: of the budget.
    left: images that are not finished.
    stopped: nobody waits for it any more; read by the threads.
    """

    encoded: Sequence[bytes]
    sizes: list[int]
    share: Share
    pixels: Array
    wanted: Sequence[int]
    deadline: Deadline
    future: asyncio.Future[None]
    waiting: deque[int] = field(default_factory=deque)
    left: int = 0
    stopped: bool = False

    def __post_init__(self) -> None:
        self.left = len(self.wanted)
        self.waiting.extend(self.wanted)

    def check(self) -> None:
        """End a decoding whose answer nobody waits for."""
        self.deadline.check(DECODING)
        if self.stopped:
            raise RequestError("the request has ended")


class ImagePool:
    """Decodes and preprocesses images; belongs to the event loop.

    Attributes:
        budget: pixels of all requests that are not decoded yet.
    """

    def __init__(self, spec: PreprocessSpec, settings: Settings) -> None:
        """Make a pool; its threads start with the first image."""
        self.budget = Budget(settings.pixels_limit, "pixels")
        self._spec = spec
        self._settings = settings
        self._idle = settings.decode_threads
        self._most_large = max(1, settings.decode_threads - 1)
        self._large = 0
        self._queue: deque[_Work] = deque()
        self._threads = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode")
        self._headers = ThreadPoolExecutor(1, thread_name_prefix="header")

    def is_small(self, encoded: Sequence[bytes]) -> bool:
        """Whether it is one small image, whose header is hardly worth a look of its own."""
        return len(encoded) == 1 and len(encoded[0]) <= PORTION

    async def measure(self, encoded: Sequence[bytes], deadline: Deadline = NEVER) -> list[int]:
        """Return every image's pixels, from its header, without decoding any.

        Raises:
            ImageError: of the first image that is none, with its place when there are several; 413 for too many pixels.
            RequestError: 504 at the deadline.
        """
        return await deadline.within(self._sizes(encoded), DECODING)

    async def load(
        self,
        encoded: Sequence[bytes],
        deadline: Deadline = NEVER,
        sizes: Sequence[int] = (),
        wanted: Sequence[int] | None = None,
    ) -> Array:
        """Return encoded images as float32 [N, 3, H, W].

        Args:
            encoded: the images of one request.
            deadline: see Raises.
            sizes: what `measure` returned; () reads the headers first.
            wanted: places of the images that are decoded, N of them; None for all.

        Cancelling drops the images that have not been begun, and ends the others at their next block.

        Raises:
            ImageError: of the first image that can't be decoded, with its place when there are several; 413 for too
                many pixels.
            RequestError: 503 where more pixels wait already than the budget takes; 504 at the deadline.
        """
        loop = asyncio.get_running_loop()
        unread = not sizes and self._may_begin_unread(encoded)
        known = list(sizes) if sizes or unread else await self.measure(encoded, deadline)
        places = range(len(encoded)) if wanted is None else wanted
        pixels = np.empty((len(places), 3, *self._spec.size), dtype=np.float32)
        with self.budget.share() as share:
            share.grow(LARGE if unread else sum(known[place] for place in places))
            work = _Work(encoded, known, share, pixels, places, deadline, loop.create_future())
            if unread:
                self._start(work, work.waiting.popleft(), large=False)
            else:
                self._queue.append(work)
                self._begin()
            try:
                with deadline.ending(work.future, DECODING):
                    await work.future
            finally:
                work.stopped = True
                if work in self._queue:
                    self._queue.remove(work)
        return pixels

    def close(self) -> None:
        """Let the threads end."""
        self._headers.shutdown(wait=False, cancel_futures=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _may_begin_unread(self, encoded: Sequence[bytes]) -> bool:
        """Whether images may go to a thread before anybody knows their sizes: one, that holds nobody up."""
        if not self.is_small(encoded):
            return False
        return self._idle > 0 and not self._queue and self.budget.used + LARGE <= self.budget.limit

    async def _sizes(self, encoded: Sequence[bytes]) -> list[int]:
        """Return every image's pixels, from its header; requests take turns here too."""
        loop = asyncio.get_running_loop()
        sizes: list[int] = []
        while len(sizes) < len(encoded):
            sizes += await loop.run_in_executor(self._headers, self._portion, encoded, len(sizes))
        self._check_request(sum(sizes))
        return sizes

    def _check_request(self, pixels: int) -> None:
        if pixels > self._settings.request_pixels:
            raise ImageError(
                f"the images have {pixels:,} pixels, expected at most {self._settings.request_pixels:,} in one "
                "request; send fewer at a time",
                413,
            )

    def _portion(self, encoded: Sequence[bytes], start: int) -> list[int]:
        """Return the pixels of the images from place `start` on: of one, or of as many as are small together."""
        sizes: list[int] = []
        read = 0
        for place in range(start, len(encoded)):
            read += len(encoded[place])
            if sizes and read > PORTION:
                break
            try:
                sizes.append(_cost(encoded[place], self._settings.max_pixels))
            except ImageError as error:
                raise _named(error, place, len(encoded)) from None
        return sizes

    def _begin(self) -> None:
        """Give every idle thread an image, each request in its turn."""
        while self._idle:
            work = next((work for work in self._queue if self._may_begin(work)), None)
            if work is None:
                return
            self._queue.remove(work)
            place = work.waiting.popleft()
            self._start(work, place, work.sizes[place] > LARGE)
            if work.waiting:
                self._queue.append(work)

    def _may_begin(self, work: _Work) -> bool:
        return self._large < self._most_large or work.sizes[work.waiting[0]] <= LARGE

    def _start(self, work: _Work, place: int, large: bool) -> None:
        self._idle -= 1
        self._large += large
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._threads, self._fill, work, place)
        running.add_done_callback(lambda done: self._finish(work, large, done))

    def _finish(self, work: _Work, large: bool, done: asyncio.Future[int | None]) -> None:
        self._idle += 1
        self._large -= large
        error = None if done.cancelled() else done.exception()
        undecoded = None if done.cancelled() or error is not None else done.result()
        if not work.future.done():
            if error is not None:
                work.future.set_exception(error)
            elif undecoded is not None:
                self._put_back(work, undecoded)
            else:
                work.left -= 1
                if not work.left:
                    work.future.set_result(None)
        self._begin()

    def _put_back(self, work: _Work, size: int) -> None:
        """Let an image wait for its turn that proved to be large."""
        try:
            work.share.reach(size)
        except RequestError as error:
            work.future.set_exception(error)
            return
        work.sizes.append(size)
        work.waiting.append(0)
        self._queue.append(work)

    def _fill(self, work: _Work, place: int) -> int | None:
        """Decode an image; one whose size is not known yet and proves to be large is left, and its pixels returned."""
        try:
            limit = self._settings.max_pixels
            if not work.sizes:
                cost = _cost(work.encoded[place], limit)
                self._check_request(cost)
                if cost > LARGE:
                    return cost
            image = preprocess.decode(work.encoded[place], self._spec.orientation, limit, check=work.check)
            work.pixels[work.wanted.index(place)] = preprocess.transform(image, self._spec)
        except ImageError as error:
            raise _named(error, place, len(work.encoded)) from None
        return None


def _cost(data: bytes, most: int) -> int:
    """Return an image's pixels, from its header; as often as they are gone over where that is more often than usual."""
    width, height = preprocess.size_of(data, most)
    found = scans(data)
    cost = width * height * max(1, -(-found // SCANS))
    if cost > most:
        raise ImageError(
            f"the image's {width} x {height} pixels come in {found:,} scans, as much work as {cost:,} pixels, expected "
            f"at most {most:,}; save it anew",
            413,
        )
    return cost


def _named(error: ImageError, place: int, count: int) -> ImageError:
    where = f"image {place + 1} of {count}: " if count > 1 else ""
    return ImageError(f"{where}{error}", error.status)
