"""serve.listening.descriptors: connections come first, files get what they leave, and the soft limit is raised."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from adaptertune_deploy.serve.listening.descriptors import NO_LIMIT, RESERVED, for_connections, for_files

RAISING = """
import resource
from adaptertune_deploy.serve.listening.descriptors import raise_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
raise_limit()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(("limit", "expected"), [(256, 256 - RESERVED), (10, 1), (65_536, 1000), (NO_LIMIT, 1000)])
def test_descriptors_bound_connections(limit: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert for_connections(1000) == expected


@pytest.mark.parametrize(("limit", "expected"), [(764, 0), (769, 5), (10, 0), (65_536, 1000), (NO_LIMIT, 1000)])
def test_files_get_what_connections_of_both_protocols_leave(
    limit: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert for_files(1000, connections=100) == expected


def test_the_soft_limit_becomes_the_hard_one() -> None:
    done = subprocess.run([sys.executable, "-c", RAISING], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["200", "200"]
