"""The files of tasks that may be brought up later, kept open: who changes the bundle takes them from nobody."""

from __future__ import annotations

import logging
import weakref

from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.storage.held_file import HeldFile
from adaptertune_deploy.serve.listening.descriptors import for_files
from adaptertune_deploy.serve.sessions.opener import Opener
from adaptertune_deploy.serve.settings import Settings

MOST = 1 << 20
logger = logging.getLogger(__name__)


class HeldFiles:
    """Holds a file for as long as somebody has the opener that it returned, and no more files than there may be open.

    Args:
        settings: a server whose tasks all have a slot holds none.
    """

    def __init__(self, settings: Settings) -> None:
        self._most = for_files(MOST, settings.max_connections) if settings.slots else 0
        self._bounded = settings.slots > 0
        self._open: weakref.WeakSet[HeldFile] = weakref.WeakSet()
        self._told = False

    def __len__(self) -> int:
        return len(self._open)

    def holding(self, opener: Opener, file: str) -> Opener:
        """Return an opener that reads this file of its bundle also when the bundle has it no more."""
        if not self._bounded:
            return opener
        if len(self._open) >= self._most:
            self._tell()
            return opener
        try:
            found = opener.holding(file)
        except FormatError:  # who brings the task up is told why
            return opener
        self._open.add(found.held[file])
        return found

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            logger.warning(
                "this process may keep the files of %s tasks open, not of all; another one that the bundle replaces or "
                "loses while it has no slot can't be brought up again; raise the limit with: ulimit -n",
                self._most,
            )
