"""What of Pillow belongs to the whole process, while headers are read: warnings muted, its own pixel limit lifted.

Pillow reports odd headers by warnings, and refuses many pixels by a limit in a module. Both are changed once for all
threads that read headers at the same time, and put back when the last one ends: nobody waits while another one reads.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from PIL import Image


class _Shared:
    """Who reads headers now.

    limits: the pixel limit of each reader.
    usual: Pillow's own limit, while somebody reads.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.limits: list[int | None] = []
        self.usual: int | None = None
        self.undo = ExitStack()


_shared = _Shared()


@contextmanager
def reading_header(max_pixels: int | None) -> Iterator[None]:
    """Mute warnings for the length of a `with` block, and let Pillow read headers of `max_pixels`, of any for None."""
    with _shared.lock:
        if not _shared.limits:
            _begin()
        _shared.limits.append(max_pixels)
        _set_limit()
    try:
        yield
    finally:
        with _shared.lock:
            _shared.limits.remove(max_pixels)
            _set_limit()
            if not _shared.limits:
                _shared.undo.close()


def _begin() -> None:
    _shared.usual = Image.MAX_IMAGE_PIXELS
    _shared.undo.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")


def _set_limit() -> None:
    """Lift Pillow's limit to the largest that a reader asks for; it is never lowered."""
    asked = [_shared.usual, *_shared.limits]
    numbers = [limit for limit in asked if limit is not None]
    Image.MAX_IMAGE_PIXELS = max(numbers) if len(numbers) == len(asked) else None
