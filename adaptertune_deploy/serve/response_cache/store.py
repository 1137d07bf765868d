"""What tasks answered about images, within a bound of bytes: what was asked for least recently goes first.

A plain dict of bytes, in the order of use: the collector of cyclic garbage leaves it alone, while an OrderedDict of as
many answers as 64 MB hold would lengthen each of its full passes by tens of milliseconds.
"""

from __future__ import annotations

import itertools

import numpy as np

from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.serve.tasks.served_task import ServedTask

NUMBER_BYTES = 8
# Of one answer besides its logits: its key, the heads of two objects, and its part of tables that have just grown.
OVERHEAD = 320
OLDEST = 256  # answers whose order of use is looked up at a time: a dict's beginning may be full of gaps


class Store:
    """Logits by image and task; belongs to the event loop.

    A task is one version of it as it is served, not its name: what another one answered is never found.

    Attributes:
        limit: bytes.
        used: bytes of all that is kept, keys and tables included.
        evictions: answers that made room for others.
    """

    def __init__(self, limit: int) -> None:
        """Begin empty."""
        self.limit = limit
        self.used = self.evictions = 0
        self._answers: dict[bytes, bytes] = {}
        self._oldest: dict[bytes, None] = {}
        self._numbers: dict[ServedTask, bytes] = {}
        self._count = itertools.count()
        self._gone: set[bytes] = set()
        self._freeing: frozenset[bytes] = frozenset()
        self._unseen: list[bytes] = []

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, image: bytes, task: ServedTask) -> Array | None:
        """Return the logits [classes] of a task about the image of this digest, not to be written to, or None."""
        number = self._numbers.get(task)
        if number is None:
            return None
        key = number + image
        found = self._answers.pop(key, None)
        if found is None:
            return None
        self._answers[key] = found
        self._oldest.pop(key, None)
        return np.frombuffer(found, dtype=np.float32)

    def put(self, image: bytes, task: ServedTask, logits: Array) -> None:
        """Keep logits, float32 [classes], in the place of others; an answer that is kept stays as it is."""
        size = OVERHEAD + logits.nbytes
        if size > self.limit:
            return
        number = self._numbers.get(task)
        if number is None:
            number = self._numbers[task] = next(self._count).to_bytes(NUMBER_BYTES, "little")
        key = number + image
        if key in self._answers:
            return
        while self.used + size > self.limit:
            self._evict()
        self._answers[key] = logits.tobytes()
        self.used += size

    def forget(self, task: ServedTask) -> None:
        """Find no answer of a task any more; `free` gives their bytes back."""
        number = self._numbers.pop(task, None)
        if number is not None:
            self._gone.add(number)

    def free(self, most: int) -> bool:
        """Look at so many answers and free those of forgotten tasks; return whether there are more to look at."""
        if not self._unseen and self._gone:
            self._freeing, self._gone = frozenset(self._gone), set()
            self._unseen = list(self._answers)
        for key in self._unseen[-most:]:
            if key[:NUMBER_BYTES] in self._freeing and key in self._answers:
                self._drop(key)
        del self._unseen[-most:]
        return bool(self._unseen or self._gone)

    def _evict(self) -> None:
        """Drop the answer that was used least recently."""
        if not self._oldest:
            self._oldest = dict.fromkeys(itertools.islice(self._answers, OLDEST))
        self._drop(next(iter(self._oldest)))
        self.evictions += 1

    def _drop(self, key: bytes) -> None:
        self._oldest.pop(key, None)
        self.used -= OVERHEAD + len(self._answers.pop(key))
