"""What a check found: one line of the doctor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from adaptertune_deploy.doctor.machine import Machine

OK, NOTE, PROBLEM = "ok", "note", "problem"
STATUSES = (OK, NOTE, PROBLEM)


@dataclass(frozen=True)
class Finding:
    """One fact about the machine.

    status: "ok", "note" (works, but a person should know) or "problem" (something that is installed can't work).
    what: the subject, "NVIDIA driver" for example.
    found: what is there.
    expected: what should be; "" where `found` is.
    fix: what to do, a command where there is one; "" only where all is well or nothing can be done.
    """

    status: str
    what: str
    found: str
    expected: str = ""
    fix: str = ""

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status {self.status!r:.20} must be one of {', '.join(STATUSES)}")
        if not self.what or not self.found:
            raise ValueError(f"a finding says what was found and of what, got {self.what!r:.40} and {self.found!r:.40}")
        if self.status == PROBLEM and not (self.expected and self.fix):
            raise ValueError(f"{self.what}: a problem says what was expected and what to do")


class Check(Protocol):
    """One subject."""

    def __call__(self, machine: Machine) -> Iterable[Finding]:
        """Return what is found; nothing where the subject does not concern this machine."""
