from __future__ import annotations

from adaptertune_deploy.data.duplicates import Duplicates, Group, Member
from adaptertune_deploy.data.findings.copies import copies
from adaptertune_deploy.data.findings.finding import Finding


def group(kind: str, *members: str) -> Group:
    """Return a group of members "split name label content"."""
    made = (member.split() for member in members)
    return Group(kind, tuple(Member(split, name, int(label), content) for split, name, label, content in made))


def found(*groups: Group, tested: int = 1000, alike: bool = False) -> dict[str, Finding]:
    return {finding.code: finding for finding in copies(Duplicates(groups, 2000, alike), ("cat", "dog"), tested)}


def test_nothing_is_said_without_copies() -> None:
    assert found() == {}


def test_an_exact_leak() -> None:
    finding = found(group("exact", "train a 0 1", "test b 0 1"))["test-copies"]
    assert (finding.severity, finding.count, finding.names) == ("error", 1, ("b",))
    assert finding.text == "1 of 1,000 test images is also trained on (b = a): accuracy on them means nothing"


def test_near_leaks_are_an_error_where_they_are_many() -> None:
    groups = [group("near", f"train a{row} 0 1{row}", f"test b{row} 0 2{row}") for row in range(10)]
    few, many = (found(*groups, tested=tested)["test-near-copies"] for tested in (1001, 1000))
    assert (few.severity, many.severity) == ("warning", "error")
    assert many.count == 10
    assert "10 of 1,000 test images are near copies of images that are trained on (first: b0 ~ a0, " in many.text


def test_two_labels_name_both() -> None:
    said = found(group("exact", "train a 0 1", "train b 1 1"), group("near", "train c 1 2", "test d 0 3"))
    assert said["two-labels"].severity == "error"
    assert said["two-labels"].text == "1 image stands under two labels (a as 'cat' and b as 'dog')"
    assert said["two-labels"].names == ("a", "b")
    assert said["two-labels-near"].severity == "warning"
    assert said["two-labels-near"].text == (
        "1 image, with near copies, stands under two labels (c as 'dog' and d as 'cat')"
    )
    assert "copies" not in said


def test_copies_within_a_split() -> None:
    said = found(group("exact", "train a 0 1", "train b 0 1", "train c 0 1"), group("near", "test d 0 2", "test e 0 3"))
    assert (said["copies"].severity, said["copies"].count, said["copies"].names) == ("warning", 2, ("b", "c"))
    assert said["copies"].text == "2 images are there twice (b = a, c = a): they count twice"
    assert (said["near-copies"].severity, said["near-copies"].names) == ("note", ("e",))
    assert said["near-copies"].text == "1 image is a near copy of another (e ~ d)"


def test_what_could_not_be_looked_for_is_said() -> None:
    assert found(alike=True)["alike"].severity == "note"
