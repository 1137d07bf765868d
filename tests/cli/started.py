"""What a command imports, seen in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from adaptertune_deploy.cli import main
try:
    main.run()
finally:
    print("imported", *sorted({name.split(".")[0] for name in sys.modules}))
"""


def imported_by(*arguments: str | Path) -> set[str]:
    """Run atd in the current folder and return the top-level modules that it had imported at its end."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(ROOT), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("imported ")]
    return set(line.split()[1:])
