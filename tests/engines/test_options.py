"""engines.options: settings as they are typed become an engine's own, or a line that says what it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.options import (
    USUAL,
    EngineOptions,
    gpu_index,
    parse_settings,
    settings_of,
    split_settings,
)


@dataclass(frozen=True)
class Kind:
    """What a made-up engine takes.

    hint: What to be quick at,
        on one machine.
    spin: Whether threads spin.
    streams: Runs at the same time.
    """

    hint: Literal["latency", "throughput"] = "latency"
    spin: bool = False
    streams: int = 1

    def __post_init__(self) -> None:
        if self.streams < 1:
            raise ValueError(f"streams={self.streams}: expected at least 1")


@dataclass(frozen=True)
class Nothing:
    """Takes nothing."""


def test_nothing_asked_for_is_fp32_on_what_works_here() -> None:
    assert (USUAL.engine, USUAL.device, USUAL.precision.value, USUAL.threads) == ("onnxruntime", "auto", "fp32", 0)
    assert USUAL.settings == {}


def test_a_precision_may_be_given_by_its_name() -> None:
    asked = EngineOptions(precision="int8")  # type: ignore[arg-type]
    assert asked.precision is Precision.INT8
    assert asked == EngineOptions(precision=Precision.INT8)
    with pytest.raises(UsageError, match=r"^no precision 'int4', only fp32, fp16, bf16"):
        EngineOptions(precision="int4")  # type: ignore[arg-type]


@pytest.mark.parametrize("threads", [-1, 1025, 100_000])
def test_a_number_of_threads_that_no_run_has_is_refused(threads: int) -> None:
    with pytest.raises(UsageError, match=rf"^--threads {threads}: expected 0 to 1024$"):
        EngineOptions(threads=threads)
    assert [EngineOptions(threads=most).threads for most in (0, 1024)] == [0, 1024]


@pytest.mark.parametrize(
    ("device", "index"),
    [("cuda", 0), ("cuda:0", 0), ("cuda:12", 12), ("cpu", None), ("auto", None), ("cuda:", None), ("cuda:01", None)],
)
def test_which_gpu_a_device_means(device: str, index: int | None) -> None:
    assert gpu_index(device) == index


def test_settings_are_described_by_their_class() -> None:
    held = settings_of(Kind)
    assert [(of.name, of.metavar, of.values, of.default, of.meaning) for of in held.values()] == [
        ("hint", "NAME", "latency or throughput", "latency", "What to be quick at, on one machine."),
        ("spin", "true|false", "true or false", False, "Whether threads spin."),
        ("streams", "N", "a whole number", 1, "Runs at the same time."),
    ]
    assert [of.choices for of in held.values()] == [("latency", "throughput"), (), ()]
    assert [held.words for held in settings_of(Kind).values()] == [
        ["hint=latency", "hint=throughput"],
        ["spin=true", "spin=false"],
        ["streams="],
    ]
    assert settings_of(Nothing) == {}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Kind()),
        ({"hint": "throughput", "streams": "4", "spin": "true"}, Kind("throughput", True, 4)),
        ({"spin": "false"}, Kind()),
    ],
)
def test_settings_are_read_by_their_types(given: dict[str, str], expected: Kind) -> None:
    assert parse_settings(Kind, given, "made-up") == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"hnt": "latency"},
            "-E hnt: made-up has no setting 'hnt', only hint, spin, streams. Did you mean 'hint'?",
        ),
        ({"hint": "speed"}, "-E hint=speed: expected latency or throughput"),
        ({"spin": "1"}, "-E spin=1: expected true or false"),
        ({"spin": "True"}, "-E spin=True: expected true or false"),
        ({"streams": "two"}, "-E streams=two: expected a whole number"),
        ({"streams": "1.5"}, "-E streams=1.5: expected a whole number"),
        ({"streams": ""}, "-E streams=: expected a whole number"),
        ({"streams": "٣"}, "-E streams=٣: expected a whole number"),
        ({"streams": "0"}, "-E streams=0: expected at least 1"),
    ],
)
def test_what_does_not_fit_is_said(given: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_settings(Kind, given, "made-up")
    assert str(caught.value) == message


def test_an_engine_without_settings_says_so() -> None:
    with pytest.raises(UsageError, match=r"^-E x: made-up has no setting 'x', it has none"):
        parse_settings(Nothing, {"x": "1"}, "made-up")


def test_words_become_names_and_values() -> None:
    assert split_settings([]) == {}
    assert split_settings(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a"], "-E a: expected NAME=VALUE"),
        (["=1"], "-E =1: expected NAME=VALUE"),
        (["a=1", "a=2"], "-E a: is given twice; give it once"),
    ],
)
def test_words_that_are_no_settings_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        split_settings(words)
    assert str(caught.value) == message
