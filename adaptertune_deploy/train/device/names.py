"""How a device and a precision are spelt; what this machine has is for device.py, which needs torch, to say."""

from __future__ import annotations

import re

from adaptertune_deploy.core.errors import UsageError

PRECISIONS = ("auto", "fp32", "bf16", "fp16")


def check_device_name(device: str, precision: str = "auto") -> None:
    """Refuse a spelling that no machine could make good.

    Raises:
        UsageError: an unknown device or precision, or half precision on a CPU.
    """
    if re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", device) is None:
        raise UsageError(f"--device {device}: expected auto, cpu, cuda or cuda:N")
    if precision not in PRECISIONS:
        raise UsageError(f"--precision {precision}: expected {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}")
    if precision == "fp16" and device == "cpu":
        raise UsageError("--precision fp16: a CPU gains nothing from it; use bf16 or fp32")
