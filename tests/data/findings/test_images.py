from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adaptertune_deploy.data.findings.finding import Finding
from adaptertune_deploy.data.findings.images import images
from adaptertune_deploy.data.looks.scan import Look

SOUND = Look("train", "a.jpg", 0, suffix=".jpg", format="JPEG", mode="RGB", width=300, height=240)


def found(*looks: Look, absent: tuple[str, ...] = ()) -> dict[str, Finding]:
    return {finding.code: finding for finding in images(looks, absent)}


def test_a_sound_image_has_no_finding() -> None:
    assert found(SOUND, replace(SOUND, suffix="")) == {}
    assert found(replace(SOUND, format="MPO")) == {}


def test_absent_and_unreadable_ones_are_all_named() -> None:
    bad = [Look("train", f"{row}.jpg", 0, error="truncated") for row in range(5)]
    said = found(SOUND, *bad, absent=("x.jpg", "y.jpg"))
    assert (said["unreadable"].severity, said["unreadable"].count) == ("error", 5)
    assert said["unreadable"].text == (
        "5 of 6 images can't be read (first: 0.jpg: truncated, 1.jpg: truncated, 2.jpg: truncated)"
    )
    assert said["unreadable"].names == tuple(look.name for look in bad)
    assert "--skip-bad" in said["unreadable"].advice
    assert (said["absent"].severity, said["absent"].text) == ("error", "2 listed images are absent (x.jpg, y.jpg)")
    assert set(said) == {"unreadable", "absent"}


STORED: dict[str, dict[str, Any]] = {
    "orientation": {"orientation": 6},
    "suffix": {"format": "PNG"},
    "cmyk": {"mode": "CMYK"},
    "deep": {"deep": True},
    "transparent": {"transparent": True, "mode": "P"},
    "palette": {"mode": "P"},
    "animated": {"animated": True},
}


@pytest.mark.parametrize("code", STORED)
def test_how_an_image_is_stored(code: str) -> None:
    said = found(SOUND, replace(SOUND, name="b.jpg", **STORED[code]))
    assert set(said) == {code}
    finding = said[code]
    assert (finding.severity, finding.count, finding.names) == ("note", 1, ("b.jpg",))
    assert finding.text.startswith("1 ")
    assert finding.text.endswith("(b.jpg)")
    assert finding.advice


def test_a_name_that_cannot_be_printed_is_spelt() -> None:
    finding = found(replace(SOUND, name="e\x1bvil\udcff.jpg"))["unprintable-names"]
    assert finding.severity == "warning"
    assert r"(e\x1bvil\udcff.jpg)" in finding.text


def test_small_images_say_how_much_they_are_enlarged() -> None:
    sizes = [(28, 56), (112, 150), (112, 112), (224, 224)]
    finding = found(*(replace(SOUND, name=str(size), width=size[0], height=size[1]) for size in sizes))["small"]
    assert (finding.severity, finding.count) == ("note", 3)
    assert finding.advice == "they are enlarged 2.0 times, at most 8.0 times"


@pytest.mark.parametrize(
    ("size", "code", "severity"),
    [
        ((720, 240), None, None),
        ((721, 240), "elongated", "note"),
        ((240, 1000), "elongated", "note"),
        ((240 * 800, 240), "too-elongated", "error"),
        ((8000, 6250), None, None),
        ((8000, 6251), "huge", "warning"),
    ],
)
def test_extreme_sizes(size: tuple[int, int], code: str | None, severity: str | None) -> None:
    said = found(replace(SOUND, width=size[0], height=size[1]))
    assert {name: finding.severity for name, finding in said.items()} == ({code: severity} if code else {})


def test_elongated_ones_say_by_how_much() -> None:
    text = found(replace(SOUND, width=1200))["elongated"].text
    assert text == "1 image is more than 3 times as long as wide, or as wide as long, at most 5.0 times (a.jpg)"
