"""The limits of a server, all in one value; what each means stands beside it, for help and documentation too."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.engines.limits import Limits

MAX_BATCH, MAX_INSTANCES = 4096, 64
FOUND_BATCH = 8  # of the largest batch that a warm-up takes by itself
FOUND_AT_ONCE = 4  # of the most runs at the same time that it tries
ROWS, BYTES, MEGABYTES, PIXELS, SECONDS, COUNT = "ROWS", "BYTES", "MB", "PIXELS", "SECONDS", "N"
# ATD_CACHE is the folder that commands keep files in (core.storage.cache).
VARIABLES = {"cache": "ATD_RESPONSE_CACHE"}


def _limit(default: float | None, unit: str, text: str, least: float = 1, otherwise: str = "") -> Any:
    """Declare a limit: its default, unit, meaning, the least value that it may have, and what None means."""
    return field(default=default, metadata={"unit": unit, "text": text, "least": least, "otherwise": otherwise})


@dataclass(frozen=True)
class Settings:
    """What one server accepts and how it works it off. A row is one image asked for one task."""

    max_batch: int | None = _limit(
        None,
        ROWS,
        "Rows of one engine run; a larger request rides in several.",
        otherwise=f"found at the start, at most {FOUND_BATCH}",
    )
    instances: int | None = _limit(
        None,
        COUNT,
        "Engine runs at the same time, on one set of weights; each has --threads.",
        otherwise=f"found at the start, at most {FOUND_AT_ONCE}; they share --threads",
    )
    max_request_rows: int = _limit(64, ROWS, "Rows of one request, and never more than may wait.")
    queue_limit: int = _limit(128, ROWS, "Rows accepted and not yet answered; beyond it: 503.")
    task_queue_limit: int = _limit(64, ROWS, "Those of one task; beyond it: 503, while other tasks are taken.")
    slots: int = _limit(0, COUNT, "Tasks that the engine holds at a time; others are loaded when asked for. 0: all.", 0)
    task_memory: int = _limit(256_000_000, BYTES, "Tensors of tasks without a slot, kept from being read again.", 0)
    cache: int = _limit(0, MEGABYTES, "Answers kept for images that are asked about again. 0: none.", 0)
    body_limit: int = _limit(20_000_000, BYTES, "One request's body, compressed and decompressed.")
    bytes_limit: int = _limit(256_000_000, BYTES, "Bodies of all requests that are read or answered; beyond it: 503.")
    request_timeout: float = _limit(60.0, SECONDS, "From a request's first byte to its answer; beyond it: 504.", 0.01)
    max_pixels: int = _limit(25_000_000, PIXELS, "Width times height of one image, read from its header.")
    request_pixels: int = _limit(100_000_000, PIXELS, "All images of one request.")
    pixels_limit: int = _limit(400_000_000, PIXELS, "Images of all requests that are not decoded yet; beyond it: 503.")
    decode_threads: int = _limit(2, COUNT, "Images decoded at the same time.")
    max_connections: int = _limit(512, COUNT, "Open connections; the one that idles longest makes room for another.")
    max_header_bytes: int = _limit(32_768, BYTES, "A request's head; beyond it: 431.", 256)
    max_chunks: int = _limit(65_536, COUNT, "Chunks of one body sent with Transfer-Encoding: chunked.")
    header_timeout: float = _limit(10.0, SECONDS, "From a connection's or request's begin to a whole head.", 0.01)
    body_grace: float = _limit(5.0, SECONDS, "For which a body may come at any speed.", 0.01)
    min_body_rate: int = _limit(1000, "BYTES/S", "Which a body must come with after --body-grace; slower: 408.")
    answer_timeout: float = _limit(30.0, SECONDS, "In which a client must take its answer.", 0.01)
    keep_alive: float = _limit(75.0, SECONDS, "For which a connection may idle; longer than load balancers' 60.", 0.01)
    run_timeout: float = _limit(60.0, SECONDS, "Of one engine run; while a longer one lasts: not ready.", 0.01)
    drain_delay: float = _limit(5.0, SECONDS, "Go on answering so long after SIGTERM while not ready.", 0)
    drain_timeout: float = _limit(20.0, SECONDS, "After which unfinished work is answered with 503.", 0)

    def __post_init__(self) -> None:
        for limit in fields(self):
            value, least = getattr(self, limit.name), limit.metadata["least"]
            if value is None:
                continue
            if not least <= value < float("inf"):
                unit = " seconds" if limit.metadata["unit"] == SECONDS else ""
                found = f"{value:g}" if isinstance(value, float) else value
                raise UsageError(f"{option(limit.name)} {found}: expected at least {least:g}{unit}")
        for name, most in (("max_batch", MAX_BATCH), ("instances", MAX_INSTANCES)):
            if (getattr(self, name) or 0) > most:
                raise UsageError(f"{option(name)} {getattr(self, name)}: expected at most {most}")

    @property
    def cache_bytes(self) -> int:
        """What `cache` is in bytes."""
        return self.cache * 1_000_000

    @property
    def largest_request(self) -> int:
        """Rows of the largest request that can ever be answered."""
        return min(self.max_request_rows, self.queue_limit, self.task_queue_limit)


def largest_batch(settings: Settings, limits: Limits) -> int:
    """Return the rows of the largest run that there may be: as asked for, or as may be found, if an engine takes it."""
    wanted = FOUND_BATCH if settings.max_batch is None else settings.max_batch
    return min(wanted, limits.max_rows or wanted)


def option(name: str) -> str:
    """Return what a user calls a limit: --max-batch."""
    return f"--{name.replace('_', '-')}"


def variable(name: str) -> str:
    """Return the environment variable of a limit: ATD_MAX_BATCH."""
    return VARIABLES.get(name, f"ATD_{name.upper()}")
