"""What a processor can do, by the names that Linux has for it in /proc/cpuinfo."""

from __future__ import annotations

import re
from dataclasses import dataclass

from adaptertune_deploy.core.cores import Read

CPUINFO = "/proc/cpuinfo"
# Add products of 8 bits into 32 bits in one instruction.
INT8_OF_X86 = frozenset({"avx_vnni", "avx512_vnni", "amx_int8"})
INT8 = INT8_OF_X86 | {"asimddp", "i8mm"}
BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


@dataclass(frozen=True)
class Processor:
    """The first core of a machine.

    model: its name; empty where Linux has none, as on Arm.
    flags: what it can do, such as "avx512_vnni" or "asimddp"; empty where nothing tells.
    """

    model: str
    flags: frozenset[str]

    @property
    def int8(self) -> bool:
        """Whether it has instructions for dot products of int8."""
        return bool(self.flags & INT8)

    @property
    def bf16(self) -> bool:
        """Whether it has instructions for products of bfloat16."""
        return bool(self.flags & BF16)


def processor(read: Read) -> Processor | None:
    """Return the processor of a machine, None on a system without that file.

    Args:
        read: returns a small text file, None where it can't be read.
    """
    text = read(CPUINFO)
    if text is None:
        return None
    flags = (_field(text, "flags") or _field(text, "Features")).split()
    return Processor(_field(text, "model name"), frozenset(flags))


def _field(text: str, name: str) -> str:
    found = re.search(rf"^{name}\s*:(.*)$", text, re.MULTILINE)
    return " ".join(found[1].split()) if found else ""
