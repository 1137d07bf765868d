"""Lines of the log that say when a server begins or ceases to be ready, and why."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)


class ReadinessLog:
    """Knows what was said last, so that it may be told as often as one likes."""

    def __init__(self) -> None:
        """Begin with nothing said."""
        self._said: str | None = ""

    def note(self, reason: str | None, ill: bool = False) -> None:
        """Say why the server is not ready, None where it is, unless that was said last.

        Args:
            reason: as GET /v2/health/ready gives it.
            ill: whether somebody should look; starting and ending are no illness.
        """
        if reason == self._said:
            return
        self._said = reason
        if reason is None:
            logger.info("ready")
        else:
            logger.log(logging.ERROR if ill else logging.INFO, "not ready: %s", reason)
