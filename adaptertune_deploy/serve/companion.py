"""What runs beside the HTTP server, and starts and ends with it."""

from __future__ import annotations

from typing import Protocol


class Companion(Protocol):
    """Another way in to the same service; belongs to the HTTP server's event loop.

    Attributes:
        pending: requests that are not answered.
    """

    @property
    def pending(self) -> int:
        """See Attributes."""

    async def start(self) -> None:
        """Take requests.

        Raises:
            UsageError: the address can't be used.
        """

    async def stop(self, seconds: float) -> None:
        """Take no more requests, and return when all are answered; those that are not by then are cut off."""
