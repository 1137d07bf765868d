"""Whether a training was stopped that could go on: what can be said before torch is loaded."""

from __future__ import annotations

from pathlib import Path

from adaptertune_deploy.core.errors import UsageError

RUN_NAME = "run.json"


def folder_of(out: Path, task: str) -> Path:
    """Return where a stopped training of a task waits; `out` is the folder that holds the adapter folders."""
    return out / f".{task}.checkpoint"


def is_stopped(out: Path, task: str) -> bool:
    """Return whether a stopped training of a task waits."""
    return (folder_of(out, task) / RUN_NAME).is_file()


def check_resume(out: Path, task: str, resume: bool) -> tuple[str, ...]:
    """Return what to say of a stopped training that is about to be left behind.

    Raises:
        UsageError: there is none to go on with.
    """
    if resume and not is_stopped(out, task):
        raise UsageError(f"--resume: no training of '{task}' was stopped in {out}; leave it out")
    if resume or not is_stopped(out, task):
        return ()
    return (
        f"a training of '{task}' was stopped before, and this one soon takes its place; to go on with that one: "
        "Ctrl-C now, then its command with --resume",
    )
