"""What is asked of an engine, and the settings that an engine has of its own."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from adaptertune_deploy.core.errors import UsageError, did_you_mean
from adaptertune_deploy.core.precision import Precision

Settings = TypeVar("Settings")
WHOLE = re.compile(r"-?[0-9]{1,18}")
MOST_THREADS = 1024  # engines start as many as they are told, until the machine has none left for anything else
GPU = re.compile(r"cuda(?::(0|[1-9][0-9]{0,2}))?")


@dataclass(frozen=True)
class EngineOptions:
    """What is asked of an engine. Nothing of it is ever replaced by something else.

    engine: a key of engines.table.ENGINES.
    device: "cpu", "cuda" (the first NVIDIA GPU), "cuda:N", or "auto" for the best one that works here.
    precision: what the graph's matrix products are computed in; its name is taken too.
    threads: CPU threads of one run, at most MOST_THREADS; 0 lets the engine choose.
    settings: name -> value as it was typed, of this engine alone; its class of settings says which there are.
    at_once: runs at the same time that may pay. Where threads belong to a session, a second one is opened for runs
        beside others, which share the threads out; other engines don't heed it.
    """

    engine: str = "onnxruntime"
    device: str = "auto"
    precision: Precision = Precision.FP32
    threads: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)
    at_once: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "precision", Precision.of(self.precision))  # the class is frozen
        check_threads(self.threads)


def check_threads(threads: int) -> None:
    """Raise UsageError for a number of threads that no run has; 0 lets the engine choose."""
    if not 0 <= threads <= MOST_THREADS:
        raise UsageError(f"--threads {threads}: expected 0 to {MOST_THREADS}")


USUAL = EngineOptions()
ON_CPU = EngineOptions(device="cpu")  # what verifies a graph where nothing else was asked for


def gpu_index(device: str) -> int | None:
    """Return which NVIDIA GPU a device's name means: 0 for "cuda", N for "cuda:N", None for anything else."""
    found = GPU.fullmatch(device)
    return int(found[1] or 0) if found else None


@dataclass(frozen=True)
class Setting:
    """One field of an engine's class of settings.

    kind: its type: a Literal of texts, bool or int.
    meaning: its line of the class's docstring.
    """

    name: str
    kind: Any
    default: Any
    meaning: str

    @property
    def choices(self) -> tuple[str, ...]:
        """The texts that it takes; none where it takes something else."""
        return typing.get_args(self.kind) if typing.get_origin(self.kind) is Literal else ()

    @property
    def values(self) -> str:
        """What it takes, in words."""
        if self.choices:
            *others, last = self.choices
            return f"{', '.join(others)} or {last}" if others else last
        return "true or false" if self.kind is bool else "a whole number"

    @property
    def metavar(self) -> str:
        """What the help puts in place of a value."""
        return "NAME" if self.choices else "true|false" if self.kind is bool else "N"

    @property
    def words(self) -> list[str]:
        """How it is typed, NAME=VALUE; NAME= where any number may follow."""
        values = ("true", "false") if self.kind is bool else self.choices or ("",)
        return [f"{self.name}={value}" for value in values]

    def read(self, text: str) -> Any:
        """Return the value that a text spells, None where it spells none."""
        if self.choices:
            return text if text in self.choices else None
        if self.kind is bool:
            return {"true": True, "false": False}.get(text)
        return int(text) if WHOLE.fullmatch(text) else None


def settings_of(kind: type) -> dict[str, Setting]:
    """Return the settings of an engine by name.

    Args:
        kind: a frozen dataclass whose fields have defaults, and whose docstring has a line "name: meaning" for each.
    """
    types, text = typing.get_type_hints(kind), inspect.cleandoc(kind.__doc__ or "")
    found = {}
    for item in dataclasses.fields(kind):
        line = re.search(rf"^{item.name}: (.+(?:\n +.+)*)", text, re.MULTILINE)
        meaning = " ".join(line[1].split()) if line else ""
        found[item.name] = Setting(item.name, types[item.name], item.default, meaning)
    return found


def parse_settings(kind: type[Settings], given: Mapping[str, str], engine: str) -> Settings:
    """Return an engine's settings from what was typed; those that were not keep their defaults.

    Args:
        kind: see settings_of; it may raise ValueError when a value is out of range.
        given: name -> value as typed.
        engine: its key in the table of engines, for messages.

    Raises:
        UsageError: no such setting, or another value than it takes.
    """
    known = settings_of(kind)
    values = {}
    for name, text in given.items():
        if name not in known:
            held = f"only {', '.join(known)}" if known else "it has none"
            raise UsageError(f"-E {name}: {engine} has no setting '{name}', {held}.{did_you_mean(name, known)}")
        values[name] = known[name].read(text)
        if values[name] is None:
            raise UsageError(f"-E {name}={text:.60}: expected {known[name].values}")
    try:
        return kind(**values)
    except ValueError as error:
        raise UsageError(f"-E {error}") from None


def split_settings(words: Sequence[str]) -> dict[str, str]:
    """Return name -> value of settings as they are typed, NAME=VALUE.

    Raises:
        UsageError: no name, no "=", or one name twice.
    """
    settings: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise UsageError(f"-E {word:.60}: expected NAME=VALUE")
        if name in settings:
            raise UsageError(f"-E {name}: is given twice; give it once")
        settings[name] = value
    return settings
