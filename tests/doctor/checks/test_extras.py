from __future__ import annotations

import importlib.metadata

from adaptertune_deploy.core.extras import EXTRAS
from adaptertune_deploy.doctor.checks.extras import check
from adaptertune_deploy.doctor.machine import ThisMachine, normalised
from tests.doctor.fake_machine import FakeMachine, found, told


def test_a_device_lacks_what_trains_and_may() -> None:
    findings = found(check, FakeMachine(packages={"onnxruntime": "1.32.0"}))
    assert {finding.status for finding in findings.values()} == {"ok"}
    assert findings["extra train"].found == (
        "not installed; for atd train, atd evaluate, atd quickstart: pip install 'adaptertune-deploy[train]'"
    )


def test_who_trains_but_can_not_export_is_told() -> None:
    packages = dict.fromkeys(EXTRAS["train"], "1")
    finding = found(check, FakeMachine(packages=packages))["extra export"]
    assert (finding.status, finding.found) == ("note", "lacks onnx, onnx-ir, onnxscript")
    assert finding.expected.startswith("all of it, for atd export, ")
    assert finding.fix == "pip install 'adaptertune-deploy[export]'"


def test_one_library_too_few_is_named() -> None:
    packages = dict.fromkeys((normalised(name) for names in EXTRAS.values() for name in names), "1")
    assert set(told(check, FakeMachine(packages=packages)).values()) == {"ok"}
    del packages["scipy"]
    finding = found(check, FakeMachine(packages=packages))["extra train"]
    assert (finding.status, finding.found) == ("note", "lacks scipy")


def test_what_is_installed_here_is_not_said_to_be_absent() -> None:
    machine = ThisMachine()
    here = {normalised(entry.metadata["Name"]) for entry in importlib.metadata.distributions()}
    for extra, said in told(check, machine).items():
        wanted = {normalised(name) for name in EXTRAS[extra.removeprefix("extra ")]}
        assert (said == "note") == (0 < len(wanted - here) < len(wanted)), extra
