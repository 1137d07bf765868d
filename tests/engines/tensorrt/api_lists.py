"""What TensorRT's Python bindings have: the lists in api/, read from NVIDIA's own wheels (each list names its source).

Facts about names and signatures, so that code can be checked where no TensorRT is; tests/engines/tensorrt/test_bindings
compares the lists with the wheels themselves.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "api"
VERSIONS = ("10.3", "10.13.3", "11.4")
PARAMETER = re.compile(r"(\w+): ((?:[^,\[\]<>]|\[[^\]]*(?:\[[^\]]*\][^\]]*)*\]|<[^>]*>)+)")


@dataclass(frozen=True)
class Overload:
    """One signature without self. parameters: names in order. required: how many have no default."""

    parameters: tuple[str, ...]
    required: int
    returns: str

    def takes(self, positional: int, keywords: frozenset[str]) -> bool:
        """Return whether a call with so many positional arguments and these keywords fits."""
        free = self.parameters[positional:]
        return (
            positional <= len(self.parameters)
            and keywords <= set(free)
            and set(self.parameters[positional : self.required]) <= keywords
        )


@dataclass(frozen=True)
class ClassList:
    """A class: property -> "ro" or "rw", method -> its overloads."""

    properties: Mapping[str, str]
    methods: Mapping[str, tuple[Overload, ...]]


@dataclass(frozen=True)
class ApiList:
    """What one version has; enums: name -> member -> value."""

    version: str
    classes: Mapping[str, ClassList]
    enums: Mapping[str, Mapping[str, int]]


@functools.cache
def read(version: str) -> ApiList:
    data = json.loads((FOLDER / f"tensorrt-{version}.json").read_text())
    classes = {
        name: ClassList(
            held["properties"],
            {method: tuple(map(overload, texts)) for method, texts in held["methods"].items()},
        )
        for name, held in data["classes"].items()
    }
    return ApiList(data["tensorrt_version"], classes, data["enums"])


def overload(text: str) -> Overload:
    """Return a signature as pybind11 writes it: "name(self: A, b: int, c: str = None) -> D"."""
    inside, _, returns = text.partition("(")[2].rpartition(") -> ")
    found = [(name, "=" in kind) for name, kind in PARAMETER.findall(inside) if name != "self"]
    return Overload(tuple(name for name, _ in found), sum(not optional for _, optional in found), returns)


@functools.cache
def operators() -> Mapping[str, Mapping[str, Any]]:
    """Return what the ONNX parser of TensorRT 10.1 reads: operator -> types, and restrictions in words."""
    data = json.loads((FOLDER / "onnx-operators-10.1.json").read_text())
    supported: Mapping[str, Mapping[str, Any]] = data["supported"]
    return supported
