"""Which versions of which tasks there are, in which state and why: Triton's repository index.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from adaptertune_deploy.core.errors import AtdError, RequestError
from adaptertune_deploy.serve.tasks.live_tasks import LiveTasks
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from adaptertune_deploy.serve.tasks.versions import Numbering, counted

STATES = READY, LOADING, UNLOADING, UNAVAILABLE = ("READY", "LOADING", "UNLOADING", "UNAVAILABLE")
UNLOADED = "unloaded"
NO_SUCH_TASK = 404  # the status of a load of what the bundle does not hold
INTERNAL = "internal error; the server's log says more"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class IndexEntry:
    """One version of one task.

    state: READY, LOADING, UNLOADING while requests that were admitted still read it, or UNAVAILABLE.
    reason: why it is unavailable, or what its first request will wait for; "" otherwise.
    """

    name: str
    version: int
    state: str
    reason: str = ""


class Index:
    """What was tried with each name; belongs to the event loop."""

    def __init__(
        self, tasks: LiveTasks, number: Numbering = counted, about: Callable[[ServedTask], str] = lambda task: ""
    ) -> None:
        """Begin with the tasks that are served; `about` returns what is to be said of one of them."""
        self._tasks, self._number, self._about = tasks, number, about
        self._latest = {task.name: (task.digest, task.version) for task in tasks.current}
        self._loading: set[str] = set()
        self._unloaded: set[str] = set()
        self._failed: dict[str, str] = {}

    def version(self, name: str, digest: str) -> int:
        """Return the version of a content: the latest one again where it is that, else what the numbering gives."""
        before, version = self._latest.get(name, ("", 0))
        if not digest or digest != before:
            version = self._number(version, digest)
        self._latest[name] = digest, version
        return version

    @contextmanager
    def loading(self, name: str, again: bool = False, sent: bool = False) -> Iterator[None]:
        """Show a task as loading for the length of a `with` block, and then what came of it.

        A name that neither the bundle nor anything served has known leaves nothing: clients choose names.

        Args:
            name: the task's.
            again: whether nobody asked for it: the log then keeps quiet of a reason that is the same as before.
            sent: whether a client sent it, so that it is in no bundle.
        """
        said = self._failed.pop(name, None)
        self._loading.add(name)
        try:
            yield
            self._unloaded.discard(name)
        except Exception as error:
            absent = isinstance(error, RequestError) and error.status == NO_SUCH_TASK
            known = name in self._latest or (said is not None and not absent)
            if known or not (sent or isinstance(error, RequestError)):
                self.failed(name, error, said if again else None)
            else:
                _log_failed(name, error)
            raise
        finally:
            self._loading.discard(name)

    def failed(self, name: str, error: Exception, said: str | None = None) -> None:
        """Note why a task can't be loaded, and log it unless that was said before."""
        self._failed[name] = str(error) if isinstance(error, AtdError) else INTERNAL
        if self._failed[name] != said:
            _log_failed(name, error)

    def lacks(self, name: str) -> bool:
        """Return whether what was tried last with a name was a load that failed."""
        return name in self._failed

    def unloaded(self, name: str) -> None:
        """Note that a task was unloaded."""
        self._failed.pop(name, None)
        if name in self._latest:
            self._unloaded.add(name)

    def entries(self) -> list[IndexEntry]:
        """Return every version that there is something to say about, by name."""
        found = {task.identity: IndexEntry(*task.identity, UNLOADING) for task in self._tasks.leaving()}
        for name in self._unloaded:
            version = self._latest[name][1]
            found.setdefault((name, version), IndexEntry(name, version, UNAVAILABLE, UNLOADED))
        for name, reason in self._failed.items():
            found[name, self._next(name)] = IndexEntry(name, self._next(name), UNAVAILABLE, reason)
        for name in self._loading:
            found[name, self._next(name)] = IndexEntry(name, self._next(name), LOADING)
        found |= {task.identity: IndexEntry(*task.identity, READY, self._about(task)) for task in self._tasks.current}
        return [found[identity] for identity in sorted(found)]

    def states(self) -> dict[str, int]:
        """Return how many versions are in each state."""
        found = Counter(entry.state for entry in self.entries())
        return {state: found[state] for state in STATES}

    def _next(self, name: str) -> int:
        return self._latest.get(name, ("", 0))[1] + 1


def _log_failed(name: str, error: Exception) -> None:
    if isinstance(error, AtdError):
        logger.warning("task '%.80s' was not loaded: %s", name, error)
    else:
        logger.error("task '%.80s' was not loaded", name, exc_info=error)
