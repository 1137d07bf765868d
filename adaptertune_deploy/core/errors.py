"""Every error a user can cause, in one tree.

    AtdError                  exit code 1
      UsageError              exit code 2: an option or a name that does not exist
      FormatError             a file is damaged, of another version, or not what it claims to be
      BackboneError           a backbone is unknown, without weights, or not the one asked for
      DatasetError            a dataset is absent, incomplete or laid out in another way
      TrainingError           training can't go on, or one of its proofs failed
      ExportError             a graph can't be made
        ParityError           a graph does not compute what torch computes
      EngineError             an engine or device is absent or refuses the graph
      RequestError            a client's request can't be answered (carries an HTTP status)
        ImageError            bytes that are no acceptable image
      Interrupted             a signal ended the work (130 for SIGINT, 143 for SIGTERM)

A message is one line: what was found, what was expected, what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AtdError(Exception):
    """Base of all errors that a user can cause; the CLI prints its one line and exits with `exit_code`."""

    exit_code = 1


class UsageError(AtdError):
    """An option, name or combination that does not exist."""

    exit_code = 2


class FormatError(AtdError):
    """A file is damaged, of another version, or not what it claims to be."""


class BackboneError(AtdError):
    """A backbone is unknown, has no weights here, or is not the one that was asked for."""


class DatasetError(AtdError):
    """A dataset is absent, incomplete or laid out in another way."""


class TrainingError(AtdError):
    """Training can't go on, or one of its proofs failed."""


class ExportError(AtdError):
    """A graph can't be made from this backbone or adapter."""


class ParityError(ExportError):
    """A graph does not compute what torch computes."""


class EngineError(AtdError):
    """An engine or device is absent, is another than was asked for, or refuses the graph."""


class RequestError(AtdError):
    """A client's request can't be answered.

    Args:
        message: one line for the client; never a path, a repr or an address.
        status: HTTP status code, 4xx, 503 or 504.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class ImageError(RequestError):
    """Bytes that are no acceptable image."""


class Interrupted(AtdError):  # noqa: N818  a signal is no error, but it ends like one
    """A signal ended the work.

    Args:
        message: what was kept and what was not.
        exit_code: 128 + the signal's number.
    """

    def __init__(self, message: str, exit_code: int = 130) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest known name, or "" when none is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""
