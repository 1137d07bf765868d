"""Waiting for a server that was just started."""

from __future__ import annotations

import contextlib
import subprocess
import urllib.error
import urllib.request
from typing import Any

PAUSE_S = 0.05


def wait_until_ready(url: str, tries: int = 100_000, server: subprocess.Popen[Any] | None = None) -> None:
    """Ask for readiness again and again; a server that never becomes ready fails the test.

    Args:
        url: of the server.
        tries: how often to ask.
        server: its process, where it may not listen yet; the test fails at once when it ends.
    """
    for _ in range(tries):
        try:
            with urllib.request.urlopen(f"{url}/v2/health/ready", timeout=60):
                return
        except urllib.error.HTTPError:
            continue
        except urllib.error.URLError:
            if server is None:
                raise
            with contextlib.suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"the server ended with {server.wait(PAUSE_S)}") from None
    raise AssertionError("the server did not become ready")
