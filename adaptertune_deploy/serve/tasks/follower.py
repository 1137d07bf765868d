"""Following a bundle: what `atd add` and `atd remove` change at rest reaches the server that serves it.

The manifest's file is looked at every second, and read where it is another one than before. Looking costs a system
call, works on every file system, network ones included, and needs no library; a bundle is changed by one rename, so
what is read is whole. Only what the manifest says otherwise than before is changed: a task that was unloaded by hand
stays so until its own record changes.

What copies a bundle may bring its manifest before the files that it names. So a task that could not be loaded is tried
again: when its own file is another one than before, whenever somebody has the bundle read, and now and then besides.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from adaptertune_deploy.core.bundle.folder import MANIFEST_NAME
from adaptertune_deploy.core.errors import AtdError
from adaptertune_deploy.serve.sessions.opener import Opener
from adaptertune_deploy.serve.sessions.session import Session
from adaptertune_deploy.serve.tasks.bundle_source import BundleSource, Mark
from adaptertune_deploy.serve.tasks.loader import Loader

LOOK_S = 1.0
SOON, LATER = 5, 300  # looks between two tries though nothing changed: so many at first, then ever more up to these
logger = logging.getLogger(__name__)


class Follower:
    """Brings the tasks of one server in line with its bundle; belongs to the event loop.

    Attributes:
        watched: whether `watch` is to run.

    Args:
        session: which says what of a record a load would read.
        source: the bundle.
        loader: changes the tasks.
    """

    def __init__(self, session: Session, source: BundleSource, loader: Loader) -> None:
        self._session, self._source, self._loader = session, source, loader
        self._turn = asyncio.Lock()
        self._seen = self._contents(source.first)
        self._unread = ""  # why the manifest could not be read last
        # The tasks whose last load failed, with the file that it would read; "" where that is not known.
        self._failed = {name: self._file(source.first, name) for name in source.left_out if name in self._seen}
        self.watched = source.watched

    async def follow(self, again: bool = False) -> None:
        """Read the manifest again, load what is new or other in it or failed before, and unload what is gone.

        Args:
            again: whether nobody asked for it: what failed before for the same reason is then not logged again.
        """
        async with self._turn:
            try:
                opener = await asyncio.to_thread(self._source.read)
            except (AtdError, OSError) as error:
                self._not_read(str(error), again)
                return
            self._unread = ""
            before, now = self._seen, self._contents(opener)
            self._seen = now
            for name in before.keys() - now.keys():
                self._failed.pop(name, None)
                await self._loader.unload(name)
            lacking = self._lacking
            for name, content in now.items():
                if before.get(name) != content or name in lacking:
                    await self._load(opener, name, again)

    async def watch(self) -> None:
        """Follow whenever the manifest's file, or that of a task that failed, is another one, until cancelled."""
        marks: dict[str, Mark | None] = {}  # the first look reads: the bundle may have changed while the server started
        pause = waited = 0
        while True:
            await asyncio.sleep(LOOK_S)
            before, marks = marks, await asyncio.to_thread(self._look, tuple(self._failed.values()))
            waited += 1
            if marks != before:
                pause = SOON
            elif waited >= pause and (self._lacking or self._unread):
                pause = min(2 * pause, LATER)
            else:
                continue
            waited = 0
            await self.follow(again=True)

    @property
    def _lacking(self) -> set[str]:
        """The tasks whose last load failed, and that nobody has loaded or unloaded by hand since."""
        return {name for name in self._failed if self._loader.lacks(name)}

    async def _load(self, opener: Opener, name: str, again: bool) -> None:
        try:
            await self._loader.load(name, again)
        except Exception:  # noqa: BLE001  the index and the log say why; the others go on
            self._failed[name] = self._file(opener, name)
        else:
            self._failed.pop(name, None)

    def _not_read(self, reason: str, again: bool) -> None:
        if not again or reason != self._unread:
            logger.error("the bundle can't be followed: %s", reason)
        self._unread = reason

    def _look(self, files: Iterable[str]) -> dict[str, Mark | None]:
        return {file: self._source.look(file) for file in (MANIFEST_NAME, *files) if file}

    def _file(self, opener: Opener, name: str) -> str:
        try:
            return self._session.file(opener, self._source.records(opener)[name])
        except AtdError:  # no graph of the form that runs here; the manifest has to change
            return ""

    def _contents(self, opener: Opener) -> dict[str, str]:
        """Return the followed tasks, each with what a load of it would read."""
        return {name: self._digest(opener, name) for name in self._source.records(opener)}

    def _digest(self, opener: Opener, name: str) -> str:
        try:
            return self._session.digest(opener, self._source.records(opener)[name])
        except AtdError:  # no graph of the form that runs here; a load says so
            return ""
