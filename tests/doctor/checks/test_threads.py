from __future__ import annotations

import pytest

from adaptertune_deploy.doctor.checks.threads import check
from tests.doctor.fake_machine import FakeMachine, found, told

OLD = {"/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}
NO_LIMIT = {**OLD, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n"}


@pytest.mark.parametrize(
    ("files", "usable", "cores", "why"),
    [
        ({"/sys/fs/cgroup/cpu.max": "250000 100000\n"}, 8, 2, "a quota of 2.5 cores"),
        ({"/sys/fs/cgroup/cpu.max": "50000 100000\n"}, 8, 1, "a quota of 0.5 cores"),
        ({"/sys/fs/cgroup/cpu.max": "600000 100000\n"}, 4, 4, "its CPU affinity"),
        ({"/sys/fs/cgroup/cpu.max": "max 100000\n"}, 3, 3, "its CPU affinity"),
        (OLD, 8, 2, "a quota of 2 cores"),
    ],
)
def test_fewer_cores_than_the_machine_has(files: dict[str, str], usable: int, cores: int, why: str) -> None:
    finding = found(check, FakeMachine(files=files, usable=usable))["threads"]
    assert finding.status == "note"
    assert finding.found == f"this process has {cores} of 8 cores by {why}"
    assert finding.fix == f"--threads {cores} with atd serve and atd predict"


@pytest.mark.parametrize("files", [{}, NO_LIMIT, {"/sys/fs/cgroup/cpu.max": "800000 100000\n"}])
def test_all_cores(files: dict[str, str]) -> None:
    assert told(check, FakeMachine(files=files)) == {"threads": "ok"}


def test_variables_that_hold_threads_back() -> None:
    machine = FakeMachine(environment={"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "", "PATH": "/bin"})
    finding = found(check, machine)["thread variables"]
    assert (finding.status, finding.found, finding.fix) == ("note", "OMP_NUM_THREADS=1", "unset OMP_NUM_THREADS")
