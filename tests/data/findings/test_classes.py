from __future__ import annotations

import pytest

from adaptertune_deploy.data.findings.classes import Counts, classes, count
from adaptertune_deploy.data.findings.finding import Finding


def found(*labels: str, **of: tuple[int, ...]) -> dict[str, Finding]:
    return {finding.code: finding for finding in classes(Counts(labels, of))}


def test_counting() -> None:
    counts = count(("cat", "dog", "emu"), {"train": [0, 0, 2], "val": [1], "test": [2]})
    assert counts.of == {"train": (2, 0, 1), "val": (0, 1, 0), "test": (0, 0, 1)}
    assert (counts.trained, counts.tested) == ((2, 1, 1), (0, 0, 1))
    assert count(("cat",), {"train": [0]}).tested == ()


def test_even_classes_and_a_large_test_are_fine() -> None:
    assert found("cat", "dog", train=(5, 14), test=(50, 50)) == {}


def test_a_single_class() -> None:
    assert found("cat", train=(50,), test=(100,))["single-class"].severity == "error"


def test_tiny_and_empty_classes_are_named() -> None:
    said = found("cat", "dog", "emu", train=(3, 4, 0), val=(1, 1, 0), test=(50, 50, 0))
    assert (said["tiny-classes"].severity, said["tiny-classes"].names) == ("warning", ("cat",))
    assert said["tiny-classes"].text == "1 class has fewer than 5 training images (cat: 4)"
    assert (said["untrained-classes"].severity, said["untrained-classes"].names) == ("error", ("emu",))
    assert "untested-classes" not in said  # nothing could be learnt of it either


@pytest.mark.parametrize(("most", "severity"), [(29, None), (30, "note"), (99, "note"), (100, "warning")])
def test_unequal_classes(most: int, severity: str | None) -> None:
    finding = found("cat", "dog", train=(10, most), test=(50, 50)).get("unequal-classes")
    assert (finding.severity if finding else None) == severity
    if finding:
        assert f"{most / 10:.1f} times" in finding.text
        assert f"(dog: {most}, cat: 10)" in finding.text


def test_classes_without_a_test_image() -> None:
    finding = found("cat", "dog", train=(9, 9), test=(100, 0))["untested-classes"]
    assert (finding.severity, finding.names) == ("warning", ("dog",))


def test_a_small_test_says_what_it_cannot_show() -> None:
    finding = found("cat", "dog", train=(9, 9), test=(25, 25))["small-test"]
    assert (finding.severity, finding.count) == ("warning", 50)
    assert "one is 2.0 points" in finding.text
    assert "a measured 80 % may be anything from 67 to 89 %" in finding.text  # Wilson's interval of 40 of 50


@pytest.mark.parametrize("of", [{"train": (1, 1)}, {"train": (9, 9), "test": (0, 0)}])
def test_no_test_at_all(of: dict[str, tuple[int, ...]]) -> None:
    said = found("cat", "dog", **of)
    assert said["no-test"].severity == "error"
    assert "small-test" not in said
