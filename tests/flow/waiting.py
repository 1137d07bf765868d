"""Waiting for a server that was just started."""

from __future__ import annotations

import urllib.error
import urllib.request


def wait_until_ready(url: str, tries: int = 100_000) -> None:
    """Ask for readiness again and again; a server that never becomes ready fails the test."""
    for _ in range(tries):
        try:
            with urllib.request.urlopen(f"{url}/v2/health/ready", timeout=60):
                return
        except urllib.error.HTTPError:
            continue
    raise AssertionError("the server did not become ready")
