"""All checks together, on machines of which one thing is wrong."""

from __future__ import annotations

import pkgutil

from adaptertune_deploy.doctor import checks
from adaptertune_deploy.doctor.examine import CHECKS, examine
from tests.doctor.fake_machine import FakeMachine

MEMINFO = "MemTotal: 32000000 kB\nMemAvailable: 30000000 kB\n"


def test_every_check_is_in_the_table_once() -> None:
    modules = [f"{checks.__name__}.{module.name}" for module in pkgutil.iter_modules(checks.__path__)]
    assert sorted(check.__module__ for check in CHECKS) == sorted(modules)


def test_findings_come_in_the_tables_order() -> None:
    machine = FakeMachine(files={"/proc/meminfo": MEMINFO, "/proc/cpuinfo": "flags: avx2\nmodel name: X\n"})
    subjects = [finding.what for finding in examine(machine)]
    wanted = ["Python", "CPU", "bf16", "int8", "threads", "memory", "cache folder", "current folder"]
    assert subjects[: len(wanted)] == wanted


def test_a_bare_machine_lacks_an_engine_and_nothing_else_is_a_problem() -> None:
    machine = FakeMachine(files={"/proc/meminfo": MEMINFO})
    problems = [finding for finding in examine(machine) if finding.status == "problem"]
    assert all("gave no answer" in finding.found or finding.what == "engine" for finding in problems)
    assert problems
