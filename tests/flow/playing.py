"""Playing a user's mistakes: a folder, a command as it is typed, and what must come of it."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "device" / "golden"
# A stand-in that can't be imported: with it, whatever answers has answered before the library.
STAND_IN = "raise ModuleNotFoundError(\"No module named '{0}'\", name='{0}')\n"
# What takes long to load and no refusal of typed words needs.
ARRAYS = ("numpy", "PIL")


@dataclass(frozen=True)
class Mistake:
    """A command that must be refused in one line and leave the disk as it was.

    command: what is typed after "atd".
    says: what the line must contain, each.
    code: exit code.
    prepare: changes the folder before the command runs.
    never: what the line must not contain.
    notes: whether sentences that are no errors may stand before the line.
    arrays: whether ARRAYS may be loaded before the mistake is found, as they must be to read tensors or images.
    """

    command: str
    says: tuple[str, ...]
    code: int = 2
    prepare: Callable[[Path], None] = lambda folder: None
    never: tuple[str, ...] = ()
    notes: bool = False
    arrays: bool = True


def environment(torch: bool, place: Path, arrays: bool = True) -> dict[str, str]:
    """Return the environment of a command that runs this checkout, with torch or with none.

    Args:
        torch: whether torch can be imported.
        place: folder for the stand-ins.
        arrays: whether ARRAYS can be imported.
    """
    path = [str(ROOT)]
    absent = [*([] if torch else ["torch"]), *([] if arrays else ARRAYS)]
    if absent:
        place = place.with_name(f"{place.name}-{len(absent)}")
        path.insert(0, str(place))
    for name in absent:
        (place / name).mkdir(parents=True, exist_ok=True)
        (place / name / "__init__.py").write_text(STAND_IN.format(name))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "COLUMNS": "160"}


def atd_command(*arguments: str | Path) -> list[str]:
    """Return the command line that starts atd in this Python."""
    return [sys.executable, "-m", "adaptertune_deploy", *map(str, arguments)]


def run(
    folder: Path, *arguments: str | Path, torch: bool = False, arrays: bool = True, timeout: float = 20
) -> subprocess.CompletedProcess[str]:
    """Run atd in a folder as a user would; a command that hangs fails the test."""
    stand_ins = folder.parent / f"{folder.name}-absent"
    return subprocess.run(
        atd_command(*arguments),
        cwd=folder,
        env=environment(torch, stand_ins, arrays),
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )


def play(mistake: Mistake, folder: Path, torch: bool = False) -> None:
    """Make the mistake and compare what came of it with what the mistake says."""
    mistake.prepare(folder)
    before = tree(folder)
    words = shlex.split(mistake.command)
    done = run(folder, *words, torch=torch, arrays=torch or mistake.arrays, timeout=120 if torch else 20)
    line = one_line(done, mistake.notes)
    assert done.returncode == mistake.code, (done.returncode, line)
    for text in mistake.says:
        assert text in line, (text, line)
    for text in mistake.never:
        assert text not in line, (text, line)
    assert done.stdout == ""
    assert tree(folder) == before


def one_line(done: subprocess.CompletedProcess[str], notes: bool = False) -> str:
    """Return the single line of an error, checked to be one; notes may stand before it where they are allowed."""
    assert "Traceback" not in done.stderr, done.stderr
    lines = [line for line in done.stderr.splitlines() if not (notes and line.startswith("note: "))]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: "), done.stderr
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", lines[0]), ascii(lines[0])
    return lines[0]


def tree(folder: Path) -> dict[str, str]:
    """Return everything below a folder: path -> SHA-256 of a file, target of a link, or what else it is."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            what = f"link to {os.readlink(path)}"
        elif path.is_file():
            what = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            what = "folder" if path.is_dir() else "special"
        found[str(path.relative_to(folder))] = what
    return found


def copy_golden(folder: Path) -> Path:
    """Put the golden bundle, adapters and images into a folder and return it."""
    for name in ("bundle", "adapters", "images"):
        shutil.copytree(GOLDEN / name, folder / name)
    return folder
