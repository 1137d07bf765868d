"""core.storage.records: JSON that is understood or refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.storage import records


@dataclass(frozen=True)
class Inner:
    ratio: float
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.ratio < 0:
            raise ValueError(f"ratio {self.ratio} must be positive")


@dataclass(frozen=True)
class Outer:
    format_version: int
    name: str
    size: tuple[int, int]
    inner: Inner
    flag: bool = False
    maybe: Inner | None = None
    counts: dict[str, float] = field(default_factory=dict)


VALUE = Outer(1, "Kätzchen", (3, 4), Inner(0.5, ("a", "b")), True, Inner(2.0), {"top1": 0.25})
FIELDS: dict[str, Any] = {"format_version": 1, "name": "x", "size": [3, 4], "inner": {"ratio": 0.5}}


def test_a_value_comes_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    records.write(path, VALUE)
    assert records.read(path, Outer, 1) == VALUE
    assert "Kätzchen" in path.read_text(encoding="utf-8")
    assert path.read_text(encoding="utf-8").endswith("}\n")
    assert list(json.loads(path.read_bytes())) == [
        "format_version",
        "name",
        "size",
        "inner",
        "flag",
        "maybe",
        "counts",
    ]


def test_defaults_may_be_left_out() -> None:
    assert records.parse(FIELDS, Outer, "here") == Outer(1, "x", (3, 4), Inner(0.5))


class Colour(str, Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Painted:
    colour: Colour


def test_one_of_several_words_is_written_as_the_word_and_read_as_itself() -> None:
    assert json.loads(records.dump(Painted(Colour.BLUE))) == {"colour": "blue"}
    assert records.parse({"colour": "blue"}, Painted, "here").colour is Colour.BLUE
    assert records.digest(Painted(Colour.RED)) != records.digest(Painted(Colour.BLUE))
    for wrong in ("green", "BLUE", 1, None, ["red"]):
        with pytest.raises(FormatError, match=r"here: colour: found .*, expected one of red, blue"):
            records.parse({"colour": wrong}, Painted, "here")


def test_a_whole_number_serves_as_a_float() -> None:
    ratio = records.parse({"ratio": 2}, Inner, "here").ratio
    assert ratio == 2.0
    assert isinstance(ratio, float)


def test_values_that_json_cannot_hold_are_never_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        records.dump(Inner(float("nan")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nmae": "x"}, "here: unknown field 'nmae'. Did you mean 'name'?"),
        ({"line\nbreak": 1}, r"here: unknown field 'line\nbreak'."),
        ({"name": 3}, "here: name: found 3, expected text"),
        ({"name": "\ud800"}, r"here: name: found '\ud800', expected text"),
        ({"name": None}, "here: name: found None, expected text"),
        ({"size": [3]}, "here: size: holds 1 values, expected 2"),
        ({"size": "34"}, "here: size: found '34', expected a list"),
        ({"size": [3, 4.0]}, "here: size[1]: found 4.0, expected a whole number"),
        ({"size": [3, True]}, "here: size[1]: found True, expected a whole number"),
        ({"flag": 1}, "here: flag: found 1, expected true or false"),
        ({"inner": []}, "here: inner: found [], expected an object"),
        ({"inner": {}}, "here: inner: field 'ratio' is missing"),
        ({"inner": {"ratio": True}}, "here: inner: ratio: found True, expected a number"),
        ({"inner": {"ratio": float("nan")}}, "here: inner: ratio: found nan, expected a number"),
        ({"inner": {"ratio": float("inf")}}, "here: inner: ratio: found inf, expected a number"),
        ({"inner": {"ratio": -1}}, "here: inner: ratio -1.0 must be positive"),
        ({"inner": {"ratio": 1, "words": ["a", 2]}}, "here: inner: words[1]: found 2, expected text"),
        ({"maybe": "none"}, "here: maybe: found 'none', expected an object"),
        ({"counts": [1]}, "here: counts: found [1], expected an object"),
        ({"counts": {"top1": "high"}}, "here: counts: top1: found 'high', expected a number"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected(change: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError) as caught:
        records.parse({**FIELDS, **change}, Outer, "here")
    assert str(caught.value) == message


def test_a_number_beyond_every_float_is_refused() -> None:
    with pytest.raises(FormatError, match=r"ratio: found 10{50,}, expected a number"):
        records.parse({"ratio": 10**400}, Inner, "here")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not readable as JSON"),
        (b"{", "not readable as JSON"),
        (b"\xff\xfe{}", "not readable as JSON"),
        (b"[" * 100_000, "not readable as JSON"),
        (b'{"format_version": 1, "name": "a", "name": "b"}', "field 'name' is given twice"),
        (b"[1]", "holds list, expected an object"),
        (b"{}", "format_version is None, this release reads 1"),
        (b'{"format_version": 2}', "format_version is 2, this release reads 1; use a matching release"),
        (b'{"format_version": true}', "found True, expected a whole number|field"),
    ],
)
def test_an_unreadable_file_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "value.json"
    path.write_bytes(text)
    with pytest.raises(FormatError, match=message) as caught:
        records.read(path, Outer, 1)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_absent_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such file"):
        records.read(tmp_path / "absent.json", Outer, 1)
    with pytest.raises(FormatError, match=r"not readable \(Is a directory\)"):
        records.read(tmp_path, Outer, 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(["format_version", "name", "size", "inner", "flag", "maybe", "counts", "other"]),
        JSON | st.fixed_dictionaries({"ratio": JSON}),
    )
)
def test_any_json_is_a_value_or_a_format_error(data: dict[str, Any]) -> None:
    try:
        value = records.parse({**FIELDS, **data}, Outer, "here")
    except FormatError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert records.parse(json.loads(records.dump(value)), Outer, "here") == value


def test_an_endless_reason_is_cut() -> None:
    @dataclass(frozen=True)
    class Loud:
        name: str

        def __post_init__(self) -> None:
            raise ValueError(f"name {self.name} is too loud")

    with pytest.raises(FormatError) as caught:
        records.parse({"name": "x" * 10_000}, Loud, "here")
    assert len(str(caught.value)) < 400


@dataclass(frozen=True)
class Grown:
    name: str
    share: float
    place: Inner
    degree: float = field(default=1.0, metadata=records.LATER)
    remark: str = field(default="", metadata=records.NOTED)


def test_a_digest_leaves_a_later_field_out_at_its_default() -> None:
    """The hash of the text that a release without the field wrote."""
    early = '{"name":"x","place":{"ratio":0.5,"words":["a"]},"share":2.0}'
    late = '{"degree":3.0,"name":"x","place":{"ratio":0.5,"words":["a"]},"share":2.0}'
    value = Grown("x", 2, Inner(0.5, ("a",)))
    assert records.digest(value) == hashlib.sha256(early.encode()).hexdigest()
    assert records.digest(replace(value, degree=3)) == hashlib.sha256(late.encode()).hexdigest()


def test_a_digest_looks_into_the_items_of_a_list() -> None:
    @dataclass(frozen=True)
    class Shelf:
        boxes: tuple[Grown, ...]

    value = Grown("x", 2, Inner(0.5, ("a",)))
    early = '{"boxes":[{"name":"x","place":{"ratio":0.5,"words":["a"]},"share":2.0}]}'
    assert records.digest(Shelf((replace(value, remark="made by hand"),))) == hashlib.sha256(early.encode()).hexdigest()
    assert records.digest(Shelf((replace(value, degree=3),))) != records.digest(Shelf((value,)))


def test_a_digest_leaves_a_noted_field_out_whatever_it_says() -> None:
    value = Grown("x", 2, Inner(0.5, ("a",)))
    assert records.digest(replace(value, remark="made by hand")) == records.digest(value)
    assert json.loads(records.dump(replace(value, remark="made by hand")))["remark"] == "made by hand"
