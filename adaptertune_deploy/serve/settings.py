"""The limits of a server, all in one value."""

from __future__ import annotations

from dataclasses import dataclass, replace

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.engines.limits import Limits

MAX_BATCH = 4096
OPTIONS = ("max_batch", "queue_limit", "drain_delay")  # what `atd serve` lets a user choose


@dataclass(frozen=True)
class Settings:
    """What one server accepts and how it works it off. A row is one image asked for one task.

    max_batch: rows of one engine run, at most MAX_BATCH; a larger request rides in several.
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
    max_pixels: int = 50_000_000
    decode_threads: int = 2
    drain_delay: float = 0.0
    drain_timeout: float = 30.0

    def __post_init__(self) -> None:
        for name in ("max_batch", "queue_limit", "max_request_rows", "body_limit", "max_pixels", "decode_threads"):
            if getattr(self, name) < 1:
                raise UsageError(f"{_called(name)} {getattr(self, name)}: expected at least 1")
        if self.max_batch > MAX_BATCH:
            raise UsageError(f"{_called('max_batch')} {self.max_batch}: expected at most {MAX_BATCH}")
        for name in ("drain_delay", "drain_timeout"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"{_called(name)} {getattr(self, name):g}: expected 0 or more seconds")
        if self.queue_limit < self.max_request_rows:
            raise UsageError(
                f"max_request_rows {self.max_request_rows}: expected at most {self.queue_limit}, the rows that "
                f"{_called('queue_limit')} lets wait"
            )


def fitting(settings: Settings, limits: Limits) -> Settings:
    """Return the settings with batches no larger than an engine takes."""
    most = limits.max_rows
    return settings if most is None or most >= settings.max_batch else replace(settings, max_batch=most)


def _called(name: str) -> str:
    """Return what a user calls a limit: the command's option where there is one."""
    return f"--{name.replace('_', '-')}" if name in OPTIONS else name
