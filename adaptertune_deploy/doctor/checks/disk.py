"""Room and permission where files are written: the cache and the current folder."""

from __future__ import annotations

from collections.abc import Iterator

from adaptertune_deploy.doctor.finding import NOTE, OK, PROBLEM, Finding
from adaptertune_deploy.doctor.machine import Machine

ROOM = 1_000_000_000  # bytes: a large backbone's graph and plan
LEAST = 100_000_000


def check(machine: Machine) -> Iterator[Finding]:
    """Say how much room the cache and the current folder have."""
    yield from _folder(machine, "cache folder", machine.cache, "say another one: ATD_CACHE=FOLDER")
    yield from _folder(machine, "current folder", ".", "go to another one with cd")


def _folder(machine: Machine, what: str, folder: str, instead: str) -> Iterator[Finding]:
    free = machine.free(folder)
    if not machine.writable(folder):
        yield Finding(PROBLEM, what, f"{folder} can't be written to", "a folder of this user's", instead)
    elif free is not None:
        found = f"{folder}, {free / 1e9:.1f} GB free"
        if free < LEAST:
            yield Finding(PROBLEM, what, found, f"{LEAST / 1e9:.1f} GB", f"free some room, or {instead}")
        elif free < ROOM:
            yield Finding(
                NOTE, what, found, f"{ROOM / 1e9:.1f} GB for large backbones", f"free some room, or {instead}"
            )
        else:
            yield Finding(OK, what, found)
