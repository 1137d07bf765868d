from __future__ import annotations

import pytest

from adaptertune_deploy.doctor.checks.memory import check
from tests.doctor.fake_machine import FakeMachine, found, told

V1 = "12:cpuset:/\n5:memory:/docker/abc\n1:name=systemd:/docker/abc\n"


def machine(available_gb: float, files: dict[str, str] | None = None) -> FakeMachine:
    text = f"MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:   {int(available_gb * 1e9 / 1024)} kB\n"
    return FakeMachine(files={"/proc/meminfo": text} | (files or {}))


@pytest.mark.parametrize(("available", "status"), [(0.3, "problem"), (0.5, "note"), (3.9, "note"), (4.1, "ok")])
def test_what_is_left(available: float, status: str) -> None:
    assert told(check, machine(available)) == {"memory": status}


@pytest.mark.parametrize(
    ("files", "status", "said"),
    [
        ({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "300000000\n"}, "problem", "allows 0.3 GB"),
        ({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "max\n"}, "ok", "8.0 GB of 16.4 GB available"),
        ({"/proc/self/cgroup": "0::/a/b\n", "/sys/fs/cgroup/a/memory.max": "2000000000\n",
          "/sys/fs/cgroup/a/b/memory.max": "max\n"}, "note", "allows 2.0 GB"),
        ({"/proc/self/cgroup": V1, "/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "350000000\n"},
         "problem", "allows 0.3 GB"),
        ({"/proc/self/cgroup": V1, "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, "ok",
         "8.0 GB of 16.4 GB available"),
    ],
)  # fmt: skip
def test_what_the_control_group_allows(files: dict[str, str], status: str, said: str) -> None:
    finding = found(check, machine(8, files))["memory"]
    assert finding.status == status
    assert finding.found.endswith(said) or said in finding.found


def test_a_system_without_that_file_has_no_finding() -> None:
    assert told(check, FakeMachine()) == {}
