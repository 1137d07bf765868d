"""The tensors of tasks in host memory, from which a cold task is brought up without a look at the disk."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from adaptertune_deploy.core.adapter.folder import Adapter


class HostMemory:
    """Keeps as many bytes of tensors as it may, those that were read last; any thread may ask.

    Args:
        limit: bytes; 0 keeps nothing.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0
        self._kept: OrderedDict[str, Adapter] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, digest: str) -> bool:
        return digest in self._kept

    def read(self, digest: str, read: Callable[[], Adapter]) -> Adapter:
        """Return the task of this SHA-256, which `read` reads where it is not kept."""
        with self._lock:
            found = self._kept.get(digest)
            if found is not None:
                self._kept.move_to_end(digest)
                return found
        found = read()
        self.keep(digest, found)
        return found

    def keep(self, digest: str, adapter: Adapter) -> None:
        """Keep a task, and let go of others where there is no room."""
        with self._lock:
            size = _bytes(adapter)
            if size > self._limit or digest in self._kept:
                return
            while self._used + size > self._limit:
                _, gone = self._kept.popitem(last=False)
                self._used -= _bytes(gone)
            self._kept[digest] = adapter
            self._used += size


def _bytes(adapter: Adapter) -> int:
    return sum(value.nbytes for value in adapter.tensors.values())
