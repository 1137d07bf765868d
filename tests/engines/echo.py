"""An engine that stands for any other: it opens what the test says, and remembers what it was asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Literal

from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.engines.table import EngineEntry


@dataclass(frozen=True)
class EchoSettings:
    """What echo takes.

    sound: How it comes back.
    """

    sound: Literal["loud", "low"] = "loud"


class Echo:
    """Stands for an engine's module: opens what the test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.checked: list[Any] = []
        self.closed = 0
        self.opened = SimpleNamespace(metadata={}, precision=Precision.FP32, device="cpu", close=self.close)

    def open_graph(self, *arguments: Any) -> Any:
        self.asked.append(arguments)
        return self.opened

    def check_installed(self, *arguments: Any) -> None:
        self.checked.append(arguments)

    def close(self) -> None:
        self.closed += 1


ENTRY = EngineEntry("Echo", "echo", "json", EchoSettings, ("auto", "cpu", "cuda"), derives=frozenset({Precision.BF16}))


def asked(**changes: Any) -> EngineOptions:
    return replace(EngineOptions("echo"), **changes)
