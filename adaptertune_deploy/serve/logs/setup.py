"""Where the log goes and what is in it: standard error, from one level on, in one format."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from adaptertune_deploy.core.errors import UsageError, did_you_mean
from adaptertune_deploy.serve.logs.formats import FORMATS

LEVELS = ("debug", "info", "warning", "error")
ACCESS = "adaptertune_deploy.access"
# What other libraries tell of every start and connection is theirs; their warnings count.
QUIET = ("uvicorn", "asyncio", "PIL")


@dataclass(frozen=True)
class LogOptions:
    """What a server writes.

    form: one of FORMATS.
    level: one of LEVELS; less important lines are left out.
    access: whether every request gets a line.
    """

    form: str = "text"
    level: str = "info"
    access: bool = False

    def __post_init__(self) -> None:
        for option, found, known in (("--log-format", self.form, tuple(FORMATS)), ("--log-level", self.level, LEVELS)):
            if found not in known:
                near = did_you_mean(found, known)
                raise UsageError(f"{option} {found:.60}: expected one of {', '.join(known)}{near and f'.{near}'}")


@contextmanager
def logging_to_stderr(options: LogOptions) -> Iterator[None]:
    """Write the log to standard error for the length of a `with` block, Python's warnings with it."""
    handler = logging.StreamHandler()
    handler.setFormatter(FORMATS[options.form]())
    root, access = logging.getLogger(), logging.getLogger(ACCESS)
    before = root.level
    root.addHandler(handler)
    root.setLevel(options.level.upper())
    access.setLevel(logging.NOTSET if options.access else logging.CRITICAL)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        root.setLevel(before)
        for name in (ACCESS, *QUIET):
            logging.getLogger(name).setLevel(logging.NOTSET)
