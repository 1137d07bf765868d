"""Encoded images to model input, in a few threads, so that the event loop keeps answering."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from adaptertune_deploy.core import preprocess
from adaptertune_deploy.core.errors import ImageError
from adaptertune_deploy.core.spec import PreprocessSpec
from adaptertune_deploy.core.tensors import Array

Result = TypeVar("Result")


class ImagePool:
    """Decodes and preprocesses images; at most `threads` at a time, the rest wait."""

    def __init__(self, spec: PreprocessSpec, threads: int, max_pixels: int) -> None:
        """Make a pool; its threads start with the first image."""
        self._spec = spec
        self._max_pixels = max_pixels
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="decode")

    async def load(self, encoded: Sequence[bytes]) -> Array:
        """Return encoded images as float32 [N, 3, H, W].

        Cancelling drops the images that have not been begun.

        Raises:
            ImageError: of the first image that can't be decoded, with its place when there are several.
        """
        pixels = np.empty((len(encoded), 3, *self._spec.size), dtype=np.float32)
        work = [asyncio.ensure_future(self._call(self._fill, pixels, place, encoded)) for place in range(len(encoded))]
        try:
            await asyncio.gather(*work)
        finally:
            for part in work:
                part.cancel()
        return pixels

    async def _call(self, function: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def close(self) -> None:
        """Wait for the threads to end."""
        self._threads.shutdown(wait=True)

    def _fill(self, pixels: Array, place: int, encoded: Sequence[bytes]) -> None:
        try:
            image = preprocess.decode(encoded[place], self._spec.orientation, self._max_pixels)
            pixels[place] = preprocess.transform(image, self._spec)
        except ImageError as error:
            where = f"image {place + 1} of {len(encoded)}: " if len(encoded) > 1 else ""
            raise ImageError(f"{where}{error}", error.status) from None
