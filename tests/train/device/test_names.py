"""train.device.names: what no machine could make good is refused without looking at this one."""

from __future__ import annotations

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.train.device.names import PRECISIONS, check_device_name


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:15"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_documented_spelling_is_accepted(device: str, precision: str) -> None:
    if (device, precision) != ("cpu", "fp16"):
        check_device_name(device, precision)


@pytest.mark.parametrize("device", ["", "gpu", "CPU", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "mps", "cuda:0 "])
def test_another_device_is_refused(device: str) -> None:
    with pytest.raises(UsageError, match=f"^--device {device}: expected auto, cpu, cuda or cuda:N$"):
        check_device_name(device)


def test_another_precision_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^--precision bf8: expected auto, fp32, bf16 or fp16$"):
        check_device_name("auto", "bf8")
    with pytest.raises(UsageError, match="a CPU gains nothing from it"):
        check_device_name("cpu", "fp16")
