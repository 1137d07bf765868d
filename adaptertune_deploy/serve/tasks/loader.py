"""Loading, replacing and unloading tasks beside traffic.

Files are read, compared with their hashes, written into a free slot and tried on a thread of their own. Until a task
has answered, no request can get it, and a load that fails leaves everything as it was but a reason in the index. One
change at a time: the order in which they are asked for is the order in which they hold.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from adaptertune_deploy.core.bundle.manifest import TaskRecord
from adaptertune_deploy.core.errors import RequestError, did_you_mean
from adaptertune_deploy.core.spec import TaskSpec
from adaptertune_deploy.serve.sessions.opener import Opener
from adaptertune_deploy.serve.sessions.session import Session
from adaptertune_deploy.serve.sessions.shared_session import SharedSession
from adaptertune_deploy.serve.sessions.warming import try_out
from adaptertune_deploy.serve.settings import Settings, largest_batch
from adaptertune_deploy.serve.tasks import uploaded
from adaptertune_deploy.serve.tasks.bundle_source import BundleSource
from adaptertune_deploy.serve.tasks.held_files import HeldFiles
from adaptertune_deploy.serve.tasks.host_memory import HostMemory
from adaptertune_deploy.serve.tasks.index import Index, IndexEntry
from adaptertune_deploy.serve.tasks.live_tasks import LiveTasks
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from adaptertune_deploy.serve.tasks.slots import Observer, Slots
from adaptertune_deploy.serve.tasks.versions import Numbering, counted

TIERS = DEVICE, HOST, DISK = ("device", "host", "disk")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """What a session holds now and no request gets yet; key and digest are the session's, for bring see ServedTask."""

    key: int
    spec: TaskSpec
    digest: str
    bring: Callable[[], int]


Prepare = Callable[[ServedTask | None], Loaded | None]


class Loader:
    """Changes the tasks of one server; belongs to its event loop.

    Attributes:
        slots: which of the tasks have one.

    Args:
        session: which holds them.
        tasks: what requests get.
        settings: its limits.
        observer: counts what happens to slots.
        source: where tasks come from; None where nothing can be loaded.
        number: gives each other content under a name its version.
    """

    def __init__(
        self,
        session: Session,
        tasks: LiveTasks,
        settings: Settings,
        observer: Observer,
        source: BundleSource | None = None,
        number: Numbering = counted,
    ) -> None:
        self.source = source
        self._session, self._tasks = session, tasks
        self._max_batch = largest_batch(settings, session.engine.limits) if session.form == "merged" else 1
        self._memory = HostMemory(settings.task_memory if settings.slots else 0)
        self._held = HeldFiles(settings)
        self._sent: set[str] = set()  # SHA-256 of what clients sent
        pinned = frozenset[str]() if source is None else source.pinned
        self.slots = Slots(settings.slots, pinned, tasks, self._run, self._unload_key, observer)
        self._index = Index(tasks, number, self._about)
        for name, error in ({} if source is None else source.left_out).items():
            self._index.failed(name, error)
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._changes: set[asyncio.Task[None]] = set()
        self._closed = False

    def begin(self) -> None:
        """Serve what the session holds, and of the bundle what it was opened for and has no slot for."""
        session, source = self._session, self.source
        records = {} if source is None else source.records(source.first)
        held = {spec.name for spec in session.tasks.values()}
        for key, spec in session.tasks.items():
            record, digest = records.get(spec.name), session.digests[key]
            bring = self.bring(source.first, record) if source is not None and record is not None else None
            task = ServedTask(key, spec, self._index.version(spec.name, digest), digest, bring)
            self.slots.settle(task)
            self._tasks.publish(task)
        if source is None or not self.slots.bounded:
            return
        for name, record in records.items():
            if name in held or name in source.left_out:
                continue
            digest, bring = session.digest(source.first, record), self.bring(source.first, record)
            self._tasks.publish(ServedTask(None, record.task, self._index.version(name, digest), digest, bring))

    def index(self) -> list[IndexEntry]:
        """Return every task that is served, is loading, was unloaded or could not be loaded."""
        return self._index.entries()

    def states(self) -> dict[str, int]:
        """Return how many versions of tasks are in each state of the index."""
        return self._index.states()

    def lacks(self, name: str) -> bool:
        """Return whether what was tried last with a name was a load that failed."""
        return self._index.lacks(name)

    async def load(self, name: str, again: bool = False) -> None:
        """Serve what the bundle holds under a name now, in the place of what is served under it.

        Where that is served already, nothing happens. Who cancels this only stops waiting for it.

        Args:
            name: the task's.
            again: see tasks.index.Index.loading.

        Raises:
            RequestError: 404, the bundle holds no such task; 503, the server is shutting down.
            AtdError: it can't be loaded; what was served before still is.
        """
        await self.change(name, lambda served: self._read(name, served), again)

    async def put(self, name: str, sent: Mapping[str, bytes], ship: str | None) -> None:
        """Serve a task that a client sent; see tasks.uploaded.put.

        Raises:
            RequestError: 400, the files are not such a task, or this server runs merged graphs; 503, see load.
            AtdError: see load.
        """
        await self.change(name, lambda served: self._put(name, sent, ship, served), sent=True)

    async def change(self, name: str, prepare: Prepare, again: bool = False, sent: bool = False) -> None:
        """Serve what a function puts into the session.

        Args:
            name: the task's.
            prepare: called on the thread of this, with what is served; returns None where that is to stay.
            again: see tasks.index.Index.loading.
            sent: see there.

        Raises:
            AtdError: see load; what `prepare` raises.
        """
        await self._take_turn(self._change(name, prepare, again, sent))

    async def unload(self, name: str) -> None:
        """Let new requests have no task of this name; those that were admitted are answered by it.

        Raises:
            RequestError: 503, the server is shutting down.
        """
        await self._take_turn(self._unload(name))

    def release(self, task: ServedTask) -> None:
        """Let go of a task that nobody reads any more."""
        self.slots.forget(task)

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

    async def _change(self, name: str, prepare: Prepare, again: bool, sent: bool) -> None:
        async with self._turn:
            served = self._tasks.current.get(name)
            with self._index.loading(name, again, sent):
                async with self.slots.room():
                    loaded = await asyncio.get_running_loop().run_in_executor(self._thread, prepare, served)
                    if loaded is not None:
                        version = self._index.version(name, loaded.digest)
                        task = ServedTask(loaded.key, loaded.spec, version, loaded.digest, loaded.bring)
                        self.slots.settle(task)
                        self._tasks.publish(task)
                        _log_change(task, "is served")

    async def _unload(self, name: str) -> None:
        async with self._turn:
            withdrawn = self._tasks.withdraw(name)
            self._index.unloaded(name)
            if withdrawn is not None:
                _log_change(withdrawn, "is withdrawn")

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
        return self.try_out(self._session.load(opener, known[name]), self.bring(opener, known[name]))

    def _put(self, name: str, sent: Mapping[str, bytes], ship: str | None, served: ServedTask | None) -> Loaded | None:
        """Put a task that was sent into the session, unless it is what is served."""
        if self.source is None or not isinstance(self._session, SharedSession):
            raise RequestError("this server runs merged graphs; add the task to its bundle with: atd add --merge")
        digest = "" if served is None else served.digest
        session = self._session
        put = uploaded.put(session, self.source.first.manifest, name, sent, ship, digest)
        # Nothing but this server has it: it stays in host memory for as long as it is served.
        if put is None:
            return None
        self._sent.add(put.digest)
        return self.try_out(put.key, lambda: session.put(put.adapter, put.digest))

    def bring(self, opener: Opener, record: TaskRecord) -> Callable[[], int]:
        """Return what brings a task of a bundle up again: out of host memory where it is there, else from disk.

        What is brought up is this version, whatever becomes of the bundle meanwhile: its file stays open.
        """
        session = self._session
        opener = self._held.holding(opener, session.file(opener, record))

        def load() -> int:
            if not isinstance(session, SharedSession):
                return session.load(opener, record)
            adapter = self._memory.read(record.sha256, lambda: opener.read(record))
            return session.put(adapter, session.digest(opener, record), opener.answer(record))

        return load

    def tiers(self) -> dict[str, int]:
        """Return how many tasks lie where; see tier."""
        found = Counter(self.tier(task) for task in self._tasks.current)
        return {tier: found[tier] for tier in TIERS}

    def tier(self, task: ServedTask) -> str:
        """Return where a task lies, one of TIERS: in a slot, in host memory, or nowhere but on disk."""
        if self.slots.warm(task):
            return DEVICE
        return HOST if task.digest in self._memory or task.digest in self._sent else DISK

    def try_out(self, key: int, bring: Callable[[], int]) -> Loaded:
        """Let a task that was put into the session answer a gray image; one that can't is taken out again.

        Raises:
            EngineError: the engine failed, or the task gave NaN.
        """
        try_out(self._session, key, self._max_batch)
        return Loaded(key, self._session.tasks[key], self._session.digests[key], bring)

    def _about(self, task: ServedTask) -> str:
        """Return what the index says of a task that is served."""
        if self.slots.warm(task):
            return ""
        problem = self.slots.problem(task)
        where = "in host memory" if self.tier(task) == HOST else "on disk"
        return f"could not be brought up: {problem}" if problem else f"without a slot, {where}"

    def _run(self, work: Callable[[], int]) -> asyncio.Future[int]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _unload_key(self, key: int) -> None:
        if not self._closed:
            self._thread.submit(self._let_go, key)

    def _let_go(self, key: int) -> None:
        try:
            self._session.unload(key)
        except Exception:
            logger.exception("a task could not be let go of")


def _log_change(task: ServedTask, what: str) -> None:
    facts = {"task": task.name, "version": str(task.version)}
    logger.info("task '%s' version %s %s", task.name, task.version, what, extra={"facts": facts})
