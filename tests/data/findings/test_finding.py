from __future__ import annotations

import pytest

from adaptertune_deploy.data.findings.finding import Finding, by_severity, counted, first


@pytest.mark.parametrize("change", [{"severity": "fatal"}, {"count": 0}, {"text": "two\nlines"}])
def test_a_finding_checks_itself(change: dict[str, object]) -> None:
    facts: dict[str, object] = {"code": "x", "severity": "note", "count": 1, "text": "one line"}
    assert Finding(**facts).advice == ""  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="can't be"):
        Finding(**(facts | change))  # type: ignore[arg-type]


def test_the_first_names_of_many() -> None:
    assert first(["a", "b", "c"]) == "(a, b, c)"
    assert first(["a", "b", "c", "d"]) == "(first: a, b, c)"


def test_counts_in_words() -> None:
    assert [counted(count, "image") for count in (1, 2, 1234)] == ["1 image", "2 images", "1,234 images"]
    assert counted(2, "class", "classes") == "2 classes"


def test_errors_come_first_and_nothing_else_changes_places() -> None:
    findings = [
        Finding(str(row), severity, 1, "") for row, severity in enumerate(["note", "error", "warning", "error"])
    ]
    assert [finding.code for finding in by_severity(findings)] == ["1", "3", "2", "0"]
