"""Findings on copies: test images that were trained on, images under two labels, images that count twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adaptertune_deploy.data.duplicates import EXACT, NEAR, NOT_LOOKED_FOR, Duplicates, Member, two_labels
from adaptertune_deploy.data.findings.finding import ERROR, NOTE, WARNING, Finding, counted, first

# Near copies of so large a share of the test images are more than the odd look-alike.
MANY = 0.01


def copies(found: Duplicates, labels: Sequence[str], tested: int) -> Iterator[Finding]:
    """Yield what to know about copies.

    Args:
        found: the copies.
        labels: of the classes.
        tested: number of test images.
    """
    yield from _leaks(found, tested)
    yield from _two_labels(found, labels)
    yield from _twice(found)
    if found.alike:
        yield Finding("alike", NOTE, found.images, NOT_LOOKED_FOR)


def _leaks(found: Duplicates, tested: int) -> Iterator[Finding]:
    exact, near = found.leaked(EXACT), found.leaked(NEAR)
    if exact:
        yield Finding(
            "test-copies",
            ERROR,
            len(exact),
            f"{len(exact):,} of {counted(tested, 'test image')} {_are(exact)} also trained on {_pairs(exact, '=')}: "
            "accuracy on them means nothing",
            "remove them from one side",
            tuple(test.name for test, _ in exact),
        )
    if near:
        yield Finding(
            "test-near-copies",
            ERROR if len(near) >= MANY * tested else WARNING,
            len(near),
            f"{len(near):,} of {counted(tested, 'test image')} {_copies(near)} of images that are trained on "
            f"{_pairs(near, '~')}: accuracy on them says little",
            "look at them and remove them from one side",
            tuple(test.name for test, _ in near),
        )


def _two_labels(found: Duplicates, labels: Sequence[str]) -> Iterator[Finding]:
    for kind, code, severity, what in (
        (EXACT, "two-labels", ERROR, "image"),
        (NEAR, "two-labels-near", WARNING, "image, with near copies,"),
    ):
        groups = found.conflicts(kind)
        if groups:
            one = two_labels(groups[0], labels)
            begin = "first: " if len(groups) > 1 else ""
            stands = "stands" if len(groups) == 1 else "stand"
            yield Finding(
                code,
                severity,
                len(groups),
                f"{counted(len(groups), what, what.replace('image', 'images', 1))} {stands} under two labels "
                f"({begin}{one})",
                "keep the right one",
                tuple(member.name for group in groups for member in group.members),
            )


def _twice(found: Duplicates) -> Iterator[Finding]:
    told = {member.name for group in found.conflicts(EXACT) for member in group.members}
    exact = [pair for pair in found.within(EXACT) if pair[0].name not in told]
    if exact:
        yield Finding(
            "copies",
            WARNING,
            len(exact),
            f"{counted(len(exact), 'image')} {_are(exact)} there twice {_pairs(exact, '=')}: "
            f"{'it counts' if len(exact) == 1 else 'they count'} twice",
            "remove the copies",
            tuple(member.name for member, _ in exact),
        )
    near = found.within(NEAR)
    if near:
        yield Finding(
            "near-copies",
            NOTE,
            len(near),
            f"{counted(len(near), 'image')} {_copies(near)} of another {_pairs(near, '~')}",
            "look at them; what is learnt from them is learnt twice",
            tuple(member.name for member, _ in near),
        )


def _are(found: Sequence[object]) -> str:
    return "is" if len(found) == 1 else "are"


def _copies(found: Sequence[object]) -> str:
    return "is a near copy" if len(found) == 1 else "are near copies"


def _pairs(pairs: Sequence[tuple[Member, Member]], sign: str) -> str:
    return first([f"{one.name} {sign} {other.name}" for one, other in pairs])
