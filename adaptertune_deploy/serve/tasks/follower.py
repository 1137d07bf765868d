"""Following a bundle: what `atd add` and `atd remove` change at rest reaches the server that serves it.

The manifest's file is looked at every second, and read where it is another one than before. Looking costs a system
call, works on every file system, network ones included, and needs no library; a bundle is changed by one rename, so
what is read is whole. Only what the manifest says otherwise than before is changed: a task that was unloaded by hand
stays so until its own record changes.
"""

from __future__ import annotations

import asyncio
import logging

from adaptertune_deploy.core.errors import AtdError
from adaptertune_deploy.serve.sessions.opener import Opener
from adaptertune_deploy.serve.sessions.session import Session
from adaptertune_deploy.serve.tasks.bundle_source import BundleSource, Mark
from adaptertune_deploy.serve.tasks.loader import Loader

LOOK_S = 1.0
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
        self._mark: Mark | None = None  # the first look reads: the bundle may have changed while the server started
        self.watched = source.watched

    async def follow(self) -> None:
        """Read the manifest again, load what is new or other in it, and unload what is gone."""
        async with self._turn:
            try:
                now = self._contents(await asyncio.to_thread(self._source.read))
            except AtdError as error:
                logger.error("the bundle can't be followed: %s", error)
                return
            before, self._seen = self._seen, now
            for name in before.keys() - now.keys():
                await self._loader.unload(name)
            for name in [name for name, content in now.items() if before.get(name) != content]:
                try:
                    await self._loader.load(name)
                except AtdError:
                    continue  # the index and the log say why

    async def watch(self) -> None:
        """Follow whenever the manifest's file is another one, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            mark = await asyncio.to_thread(self._source.look)
            if mark != self._mark:
                self._mark = mark
                await self.follow()

    def _contents(self, opener: Opener) -> dict[str, str]:
        """Return the followed tasks, each with what a load of it would read."""
        return {name: self._digest(opener, name) for name in self._source.records(opener)}

    def _digest(self, opener: Opener, name: str) -> str:
        try:
            return self._session.digest(opener, self._source.records(opener)[name])
        except AtdError:  # no graph of the form that runs here; a load says so
            return ""
