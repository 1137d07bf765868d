"""What the processor can compute, and what that means for a graph's precision."""

from __future__ import annotations

from collections.abc import Iterator

from adaptertune_deploy.core.processor import processor
from adaptertune_deploy.doctor.finding import NOTE, OK, Finding
from adaptertune_deploy.doctor.machine import Machine

# flag of /proc/cpuinfo -> what people call it; x86 first, then Arm
NAMES = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "amx_bf16": "AMX BF16",
    "amx_int8": "AMX INT8",
    "asimdhp": "FP16",
    "asimddp": "dot products",
    "i8mm": "INT8 products",
    "bf16": "BF16",
    "sve": "SVE",
}


def check(machine: Machine) -> Iterator[Finding]:
    """Say which instructions there are, and name the precisions that they don't speed up."""
    here = processor(machine.read)
    if here is None:
        return
    model = here.model or machine.processor
    known = ", ".join(name for flag, name in NAMES.items() if flag in here.flags)
    yield Finding(OK, "CPU", f"{model}, {machine.cores} cores: {known or 'no instructions that speed up a graph'}")
    intel = machine.processor == "x86_64"
    if intel and "avx2" not in here.flags:
        yield Finding(
            NOTE,
            "AVX2",
            "absent",
            "AVX2 or AVX-512, without which a graph takes several times as long",
            "in a virtual machine, pass the host's processor through; else use another machine",
        )
    if not here.bf16:
        yield Finding(
            NOTE, "bf16", "no instructions for it", "fp32 graphs here: bf16 is not faster", "leave --precision bf16 out"
        )
    if here.model.startswith("Intel") and "avx512_bf16" in here.flags and "amx_bf16" not in here.flags:
        yield Finding(
            NOTE,
            "bf16",
            "AVX-512 BF16 without AMX, which virtual machines often hide",
            "fp32 graphs here: on the Intel Xeon without AMX that was measured bf16 is slower than fp32",
            "leave --precision bf16 and -E rest=bf16 out, or have them measured: atd tune --allow bf16",
        )
    if not here.int8:
        yield Finding(
            NOTE,
            "int8",
            "no instructions for its dot products",
            "fp32 graphs here: int8 is small, but hardly faster, and OpenVINO may cut sums off",
            "leave --precision int8 and int8-qdq out, unless size is what counts",
        )
