"""Clients that are gone when their answer is sent: the library logs a fault with its trace, and nothing is wrong."""

from __future__ import annotations

import logging

LIBRARY = "grpc._cython.cygrpc"  # its logger
UNSENT = "ExecuteBatchError"  # what it raises where an answer or a status can't be sent; it exports no such name


def hush() -> None:
    """Keep what the library says of clients that left out of the log; may be called again."""
    logging.getLogger(LIBRARY).addFilter(_is_fault)


def _is_fault(record: logging.LogRecord) -> bool:
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or kind.__name__ != UNSENT
