from __future__ import annotations

import pytest

from adaptertune_deploy.doctor.checks.cpu import check
from tests.doctor.fake_machine import FakeMachine, found, told

ZEN4 = "fpu sse4_2 avx avx2 fma avx512f avx512bw avx512_bf16 avx512_vnni"
SAPPHIRE = f"{ZEN4} avx_vnni amx_bf16 amx_tile amx_int8"
HASWELL = "fpu sse4_2 avx avx2 fma"
OLD = "fpu sse4_2 avx"
ORIN = "fp asimd evtstrm aes fphp asimdhp cpuid asimdrdm asimddp"
THOR = f"{ORIN} sve i8mm bf16"


def machine(flags: str, processor: str = "x86_64", name: str = "AMD EPYC") -> FakeMachine:
    field = "flags\t\t" if processor == "x86_64" else "Features\t"
    model = f"model name\t: {name}\n" if processor == "x86_64" else ""
    text = f"processor\t: 0\n{model}{field}: {flags}\n\nprocessor\t: 1\n"
    return FakeMachine(processor=processor, files={"/proc/cpuinfo": text})


@pytest.mark.parametrize(
    ("flags", "processor", "notes"),
    [
        (ZEN4, "x86_64", set()),
        (SAPPHIRE, "x86_64", set()),
        (HASWELL, "x86_64", {"bf16", "int8"}),
        (OLD, "x86_64", {"AVX2", "bf16", "int8"}),
        (ORIN, "aarch64", {"bf16"}),
        (THOR, "aarch64", set()),
    ],
)
def test_what_a_processor_does_not_speed_up(flags: str, processor: str, notes: set[str]) -> None:
    statuses = told(check, machine(flags, processor))
    assert {what for what, status in statuses.items() if status != "ok"} == notes
    assert statuses["CPU"] == "ok"


@pytest.mark.parametrize(
    ("flags", "name", "noted"),
    [(ZEN4, "Intel(R) Xeon(R) Processor", True), (SAPPHIRE, "Intel(R) Xeon(R) Processor", False), (ZEN4, "AMD", False)],
)
def test_bf16_without_amx_is_slower_on_intels(flags: str, name: str, noted: bool) -> None:
    findings = found(check, machine(flags, name=name))
    assert ("bf16" in findings) is noted
    if noted:
        assert findings["bf16"].found == "AVX-512 BF16 without AMX, which virtual machines often hide"


def test_instructions_have_their_names() -> None:
    text = found(check, machine(SAPPHIRE))["CPU"].found
    assert text == ("AMD EPYC, 8 cores: AVX2, AVX-512, AVX-VNNI, AVX-512 VNNI, AVX-512 BF16, AMX BF16, AMX INT8")
    assert found(check, machine(ORIN, "aarch64"))["CPU"].found == "aarch64, 8 cores: FP16, dot products"


@pytest.mark.parametrize(("flags", "processor"), [(HASWELL, "x86_64"), ("fp asimd", "aarch64")])
def test_int8_without_instructions_is_called_hardly_faster(flags: str, processor: str) -> None:
    told = found(check, machine(flags, processor))["int8"]
    assert told.found == "no instructions for its dot products"
    assert "int8 is small, but hardly faster, and OpenVINO may cut sums off" in told.expected


def test_a_system_without_that_file_has_no_finding() -> None:
    assert told(check, FakeMachine(system="Darwin")) == {}
