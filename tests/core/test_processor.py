"""core.processor: what /proc/cpuinfo says, on x86 and on Arm."""

from __future__ import annotations

import pytest

from adaptertune_deploy.core import cores
from adaptertune_deploy.core.processor import CPUINFO, Processor, processor

X86 = "processor\t: 0\nmodel name\t: AMD  EPYC \nflags\t\t: {}\nbugs\t\t: flags\n\nprocessor\t: 1\nflags\t\t: avx\n"
ARM = "processor\t: 0\nFeatures\t: {}\nCPU implementer : 0x41\n"


def test_the_first_core_counts() -> None:
    found = processor({CPUINFO: X86.format("fpu avx2 avx512_bf16")}.get)
    assert found == Processor("AMD EPYC", frozenset({"fpu", "avx2", "avx512_bf16"}))


def test_an_arm_core_has_features_and_no_name() -> None:
    assert processor({CPUINFO: ARM.format("asimd asimddp")}.get) == Processor("", frozenset({"asimd", "asimddp"}))


@pytest.mark.parametrize(
    ("text", "int8", "bf16"),
    [
        (X86.format("avx2 avx512f"), False, False),
        (X86.format("avx2 avx_vnni"), True, False),
        (X86.format("avx512_vnni avx512_bf16"), True, True),
        (X86.format("amx_int8 amx_bf16"), True, True),
        (X86.format(""), False, False),
        (ARM.format("asimd"), False, False),
        (ARM.format("asimddp"), True, False),
        (ARM.format("i8mm bf16"), True, True),
    ],
)
def test_what_has_instructions(text: str, int8: bool, bf16: bool) -> None:
    found = processor({CPUINFO: text}.get)
    assert found is not None
    assert (found.int8, found.bf16) == (int8, bf16)


def test_a_system_without_that_file_tells_nothing() -> None:
    assert processor({}.get) is None
    assert processor({CPUINFO: ""}.get) == Processor("", frozenset())


def test_this_machine_is_read() -> None:
    found = processor(cores.read_small)
    assert found is None or found.flags
