"""Loading, replacing and unloading tasks beside traffic.

Files are read, compared with their hashes, written into a free slot and tried on a thread of their own. Until a task
has answered, no request can get it, and a load that fails leaves everything as it was but a reason in the index. One
change at a time: the order in which they are asked for is the order in which they hold.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from adaptertune_deploy.core.errors import RequestError, did_you_mean
from adaptertune_deploy.core.spec import TaskSpec
from adaptertune_deploy.serve.sessions.session import Session, try_out
from adaptertune_deploy.serve.sessions.shared_session import SharedSession
from adaptertune_deploy.serve.tasks import uploaded
from adaptertune_deploy.serve.tasks.bundle_source import BundleSource
from adaptertune_deploy.serve.tasks.index import Index, IndexEntry
from adaptertune_deploy.serve.tasks.live_tasks import LiveTasks
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from adaptertune_deploy.serve.tasks.versions import Numbering, counted

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """What a session holds now and no request gets yet; key and digest are the session's."""

    key: int
    spec: TaskSpec
    digest: str


class Loader:
    """Changes the tasks of one server; belongs to its event loop.

    Args:
        session: which holds them.
        tasks: what requests get.
        max_batch: rows of the largest run that a merged graph is warmed up with.
        source: where tasks come from; None where nothing can be loaded.
        number: gives each other content under a name its version.
    """

    def __init__(
        self,
        session: Session,
        tasks: LiveTasks,
        max_batch: int,
        source: BundleSource | None = None,
        number: Numbering = counted,
    ) -> None:
        self.source = source
        self._session, self._tasks = session, tasks
        self._max_batch = max_batch if session.form == "merged" else 1
        self._index = Index(tasks, number)
        for name, error in ({} if source is None else source.left_out).items():
            self._index.failed(name, error)
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._changes: set[asyncio.Task[None]] = set()
        self._closed = False

    def index(self) -> list[IndexEntry]:
        """Return every task that is served, is loading, was unloaded or could not be loaded."""
        return self._index.entries()

    def states(self) -> dict[str, int]:
        """Return how many versions of tasks are in each state of the index."""
        return self._index.states()

    async def load(self, name: str) -> None:
        """Serve what the bundle holds under a name now, in the place of what is served under it.

        Where that is served already, nothing happens. Who cancels this only stops waiting for it.

        Raises:
            RequestError: 404, the bundle holds no such task; 503, the server is shutting down.
            AtdError: it can't be loaded; what was served before still is.
        """
        await self.change(name, lambda served: self._read(name, served))

    async def put(self, name: str, sent: Mapping[str, bytes], ship: str | None) -> None:
        """Serve a task that a client sent; see tasks.uploaded.put.

        Raises:
            RequestError: 400, the files are not such a task, or this server runs merged graphs; 503, see load.
            AtdError: see load.
        """
        await self.change(name, lambda served: self._put(name, sent, ship, served))

    async def change(self, name: str, prepare: Callable[[ServedTask | None], Loaded | None]) -> None:
        """Serve what a function puts into the session.

        Args:
            name: the task's.
            prepare: called on the thread of this, with what is served; returns None where that is to stay.

        Raises:
            AtdError: see load; what `prepare` raises.
        """
        await self._take_turn(self._change(name, prepare))

    async def unload(self, name: str) -> None:
        """Let new requests have no task of this name; those that were admitted are answered by it.

        Raises:
            RequestError: 503, the server is shutting down.
        """
        await self._take_turn(self._unload(name))

    def release(self, task: ServedTask) -> None:
        """Let go of a task that nobody reads any more."""
        if not self._closed:
            self._thread.submit(self._let_go, task.key)

    def close(self, wait: bool = True) -> None:
        """Change nothing any more; `wait` for a load that goes on."""
        self._closed = True
        self._thread.shutdown(wait=wait, cancel_futures=True)

    async def _take_turn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a change to its end, though whoever asked for it be gone: what was put into the session has an owner."""
        if self._closed:
            work.close()
            raise RequestError("the server is shutting down", 503)
        change = asyncio.get_running_loop().create_task(work)
        self._changes.add(change)
        change.add_done_callback(self._changes.discard)
        await asyncio.shield(change)

    async def _change(self, name: str, prepare: Callable[[ServedTask | None], Loaded | None]) -> None:
        async with self._turn:
            served = self._tasks.current.get(name)
            with self._index.loading(name):
                loaded = await asyncio.get_running_loop().run_in_executor(self._thread, prepare, served)
                if loaded is not None:
                    version = self._index.version(name, loaded.digest)
                    self._tasks.publish(ServedTask(loaded.key, loaded.spec, version, loaded.digest))

    async def _unload(self, name: str) -> None:
        async with self._turn:
            self._tasks.withdraw(name)
            self._index.unloaded(name)

    def _read(self, name: str, served: ServedTask | None) -> Loaded | None:
        """Load a task out of the bundle, unless it is what is served."""
        if self.source is None:
            raise RequestError(f"failed to load '{name}': this server has no bundle to load from")
        opener = self.source.read()
        known = {record.task.name: record for record in opener.manifest.tasks}
        if name not in known:
            near = did_you_mean(name, known)
            raise RequestError(f"failed to load '{name:.80}', the bundle holds no such task.{near}".rstrip("."), 404)
        digest = self._session.digest(opener, known[name])
        if served is not None and served.digest == digest:
            return None
        return self.try_out(self._session.load(opener, known[name]))

    def _put(self, name: str, sent: Mapping[str, bytes], ship: str | None, served: ServedTask | None) -> Loaded | None:
        """Put a task that was sent into the session, unless it is what is served."""
        if self.source is None or not isinstance(self._session, SharedSession):
            raise RequestError("this server runs merged graphs; add the task to its bundle with: atd add --merge")
        digest = "" if served is None else served.digest
        key = uploaded.put(self._session, self.source.first.manifest, name, sent, ship, digest)
        return None if key is None else self.try_out(key)

    def try_out(self, key: int) -> Loaded:
        """Let a task that was put into the session answer a gray image; one that can't is taken out again.

        Raises:
            EngineError: the engine failed, or the task gave NaN.
        """
        try_out(self._session, key, self._max_batch)
        return Loaded(key, self._session.tasks[key], self._session.digests[key])

    def _let_go(self, key: int) -> None:
        try:
            self._session.unload(key)
        except Exception:
            logger.exception("a task could not be let go of")
