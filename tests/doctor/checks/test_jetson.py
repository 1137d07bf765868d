from __future__ import annotations

import pytest

from adaptertune_deploy.doctor.checks.jetson import JETPACKS, check
from adaptertune_deploy.doctor.machine import Ran
from tests.doctor.fake_machine import FakeMachine, found, told

MAXN = {"nvpmodel -q": Ran(0, "NV Power Mode: MAXN_SUPER\n2\n")}


def release(major: int, revision: str) -> dict[str, str]:
    line = f"# R{major} (release), REVISION: {revision}, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed"
    return {"/etc/nv_tegra_release": line, "/proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0"}


def machine(major: int, revision: str, python: tuple[int, int, int], **more: object) -> FakeMachine:
    programs = more.pop("programs", MAXN)
    return FakeMachine(
        python=python,
        processor="aarch64",
        files=release(major, revision),
        programs=programs,  # type: ignore[arg-type]
        **more,  # type: ignore[arg-type]
    )


def test_another_machine_has_no_finding() -> None:
    assert told(check, FakeMachine(programs=MAXN)) == {}


@pytest.mark.parametrize(
    ("major", "revision", "python", "name"),
    [
        (36, "4.0", (3, 10, 12), "6.1 or 6.2"),
        (36, "4.7", (3, 10, 12), "6.1 or 6.2"),
        (38, "2.0", (3, 12, 3), "7.0"),
        (38, "4.1", (3, 12, 3), "7.1"),
        (39, "2.0", (3, 12, 3), "7.2"),
    ],
)
def test_releases(major: int, revision: str, python: tuple[int, int, int], name: str) -> None:
    findings = found(check, machine(major, revision, python))
    assert {finding.status for finding in findings.values()} == {"ok"}
    l4t = f"{major}.{revision}"
    assert findings["JetPack"].found.startswith(
        f"NVIDIA Jetson Orin Nano Developer Kit, L4T {l4t}, JetPack {name}: CUDA"
    )


@pytest.mark.parametrize(
    ("major", "revision", "name"), [(36, "3.0", "6.0"), (35, "4.1", "5"), (32, "7.1", "older than 5")]
)
def test_releases_whose_tensorrt_is_too_old(major: int, revision: str, name: str) -> None:
    finding = found(check, machine(major, revision, (3, 10, 12)))["JetPack"]
    assert finding.status == "problem"
    assert finding.found.endswith(f"JetPack {name}")
    assert finding.fix.startswith("flash JetPack 6.2")


def test_a_file_of_another_form_is_not_guessed_at() -> None:
    strange = FakeMachine(files={"/etc/nv_tegra_release": "# something"}, programs=MAXN)
    finding = found(check, strange)["JetPack"]
    assert (finding.status, "L4T unknown" in finding.found) == ("problem", True)


def test_a_python_that_is_not_the_systems() -> None:
    finding = found(check, machine(36, "4.3", (3, 12, 1)))["Python of JetPack"]
    assert finding.status == "problem"
    assert finding.fix.endswith("/usr/bin/python3.10 -m venv --system-site-packages VENV")


def test_a_tensorrt_that_does_not_support_this_jetpack() -> None:
    packages = {"tensorrt": "11.4.0"}
    assert told(check, machine(36, "4.3", (3, 10, 12), packages=packages))["TensorRT of JetPack"] == "problem"
    assert "TensorRT of JetPack" not in told(check, machine(39, "2.1", (3, 12, 3), packages=packages))


@pytest.mark.parametrize(
    ("ran", "status", "said"),
    [
        (Ran(0, "NV Power Mode: 15W\n0\n"), "note", "15W, which holds clocks back"),
        (Ran(0, "NV Power Mode: MAXN\n0\n"), "ok", "MAXN"),
        (Ran(1, "", "permission denied"), "note", "unknown"),
        (None, "note", "unknown"),
    ],
)
def test_power_modes(ran: Ran | None, status: str, said: str) -> None:
    here = machine(36, "4.3", (3, 10, 12), programs={"nvpmodel -q": ran} if ran else {})
    finding = found(check, here)["power mode"]
    assert (finding.status, finding.found) == (status, said)


def test_the_table_is_ordered_newest_first() -> None:
    places = [entry.l4t for entry in JETPACKS]
    assert places == sorted(places, reverse=True)
