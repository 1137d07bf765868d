from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CODE = "from adaptertune_deploy.serve.http import last_words; last_words.end(7, 'error: it hangs\\n')"


def test_it_ends_with_its_words() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (7, "error: it hangs\n")


@pytest.mark.parametrize(
    "first", ["", "import os; os.close(2); ", "import sys; sys.stderr.close(); ", "sys.stderr = None"]
)
def test_it_ends_though_nobody_takes_its_words(first: str) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        code = f"import sys; {first}\n{CODE}"
        assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, stderr=full, check=False).returncode == 7
    finally:
        os.close(full)
