"""torch's build against the machine's GPU."""

from __future__ import annotations

from collections.abc import Iterator

from adaptertune_deploy.doctor import nvidia
from adaptertune_deploy.doctor.finding import NOTE, OK, Finding
from adaptertune_deploy.doctor.machine import Machine


def check(machine: Machine) -> Iterator[Finding]:
    """Say whether torch can use the GPU that is there, or brings libraries for one that is not."""
    number = machine.distributions.get("torch")
    if number is None:
        return
    cuda = next((major for name, major in nvidia.built_for(machine).items() if name.startswith("torch ")), None)
    gpu = nvidia.has_gpu(machine)
    if cuda and not gpu:
        yield Finding(
            NOTE,
            "torch",
            f"{number}, built for CUDA {cuda}, and no NVIDIA GPU works here",
            "torch's CPU build, which comes without the CUDA libraries, most of 6 GB",
            "where the disk matters: install torch and torchvision as pytorch.org/get-started says for CPU",
        )
    elif gpu and not cuda:
        yield Finding(
            NOTE,
            "torch",
            f"{number}, built for the CPU, and an NVIDIA GPU is here",
            "a CUDA build, for atd train --device cuda",
            "install torch and torchvision as pytorch.org/get-started says for CUDA",
        )
    else:
        yield Finding(OK, "torch", f"{number}, built for {f'CUDA {cuda}' if cuda else 'the CPU'}")
