"""A file that stays readable when it is removed, or another one takes its name."""

from __future__ import annotations

import os
import weakref
from pathlib import Path

from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.storage import files


class HeldFile:
    """Keeps a regular file open until nobody has this object any more.

    Args:
        path: the file; links are followed.

    Raises:
        FormatError: absent, no regular file, unreadable, or no descriptor is left.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with files.open_regular(path) as stream:
            self._descriptor = os.dup(stream.fileno())
        weakref.finalize(self, os.close, self._descriptor)

    def read(self, limit: int | None = None) -> bytes:
        """Return its bytes; see files.read_regular. One thread at a time."""
        try:
            with os.fdopen(os.dup(self._descriptor), "rb") as stream:
                stream.seek(0)
                return files.content(stream, self.path, limit)
        except OSError as error:
            raise FormatError(f"{self.path}: not readable ({error.strerror})") from None
