"""The limits of a server, all in one value."""

from __future__ import annotations

from dataclasses import dataclass

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.preprocess import MAX_PIXELS


@dataclass(frozen=True)
class Settings:
    """What one server accepts and how it works it off. A row is one image asked for one task.

    max_batch: rows of one engine run; a larger request rides in several.
    max_request_rows: rows of one request; also what model configurations call max_batch_size.
    queue_limit: rows that may be accepted and not yet answered; beyond it requests are refused with 503.
    body_limit: bytes of one request's body, compressed and decompressed.
    max_pixels: width times height of one image, checked before it is decoded.
    decode_threads: images decoded at the same time.
    drain_delay: seconds for which requests are still taken after SIGTERM while readiness already says no, so
        that load balancers can look away first.
    drain_timeout: seconds after which unfinished work is given up.
    """

    max_batch: int = 8
    max_request_rows: int = 64
    queue_limit: int = 128
    body_limit: int = 20_000_000
    max_pixels: int = MAX_PIXELS
    decode_threads: int = 2
    drain_delay: float = 0.0
    drain_timeout: float = 30.0

    def __post_init__(self) -> None:
        for name in ("max_batch", "max_request_rows", "queue_limit", "body_limit", "max_pixels", "decode_threads"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("drain_delay", "drain_timeout"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"{name} is {getattr(self, name)}, expected 0 or more seconds")
        if self.queue_limit < self.max_request_rows:
            raise UsageError(
                f"queue_limit is {self.queue_limit} rows, less than the {self.max_request_rows} that one request may "
                "hold; raise queue_limit or lower max_request_rows"
            )
