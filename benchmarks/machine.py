"""What a number was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

FEATURES = ("avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
LIBRARIES = ("torch", "timm", "onnx", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-cu13", "numpy")


def describe_machine() -> dict[str, Any]:
    """Return processor, cores, memory in GB, Python and library versions."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "processor": processor_name(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory),
        "python": platform.python_version(),
        "versions": versions,
    }


def processor_name() -> str:
    """Return the processor's name and what it can do that matters here, from /proc/cpuinfo."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    features = [
        name for name in ("avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16") if name in facts.get("flags", "")
    ]
    return " ".join([facts.get("model name", platform.machine()), *features])
