"""Images that are there more than once: in test and training, under two labels, on one side of the two.

An exact copy has the same bytes or, saved again without loss, the same pixels. A near copy looks the same to
data.looks.near, which says what it finds and what it does not. Training asks `told` before it trains.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.data.looks import near
from adaptertune_deploy.data.looks.fingerprint import Fingerprint
from adaptertune_deploy.data.looks.scan import Look, scan
from adaptertune_deploy.data.samples import Split

EXACT, NEAR = "exact", "near"
TRAIN, TEST = "train", "test"
NOT_LOOKED_FOR = (
    "the images are so alike as a whole that near copies can't be told from others; exact ones were looked for"
)


@dataclass(frozen=True)
class Told:
    """What a person should know about copies, one sentence each.

    leaked: of test images that train too, or nearly.
    others: of images under two labels, and that near copies were not looked for.
    """

    leaked: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.leaked, *self.others)


NO_COPIES = Told()


@dataclass(frozen=True)
class Member:
    """One image of a group.

    split, name: where it stands.
    label: index of its class.
    content: hexadecimal hash of its pixels, which exact copies share.
    """

    split: str
    name: str
    label: int
    content: str


@dataclass(frozen=True)
class Group:
    """Two or more images that are copies of one another.

    kind: "exact", or "near": some of them differ in pixels, so that there are two contents at least.
    members: in the order of the splits.
    """

    kind: str
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Duplicates:
    """The copies in a dataset.

    groups: exact ones, then near ones; the members of a near group may be in exact groups too.
    images: how many were compared.
    alike: the images are so alike as a whole that near copies can't be told from others and were not looked for.
    """

    groups: tuple[Group, ...]
    images: int
    alike: bool = False

    def of(self, kind: str) -> tuple[Group, ...]:
        """Return the groups of one kind."""
        return tuple(group for group in self.groups if group.kind == kind)

    def leaked(self, kind: str) -> tuple[tuple[Member, Member], ...]:
        """Return each test image that has a copy outside the test, and that copy; an exact one is not near as well."""
        pairs: dict[str, tuple[Member, Member]] = {}
        exact = {test.name for test, _ in self.leaked(EXACT)} if kind == NEAR else set()
        for group in self.of(kind):
            others = [member for member in group.members if member.split != TEST]
            for test in group.members:
                if others and test.split == TEST and test.name not in exact:
                    pairs[test.name] = (test, others[0])
        return tuple(pairs.values())

    def conflicts(self, kind: str) -> tuple[Group, ...]:
        """Return the groups whose members stand under two labels or more; what an exact one says is not said twice."""
        known = {member.content for group in self.conflicts(EXACT) for member in group.members} if kind == NEAR else ()
        return tuple(
            group
            for group in self.of(kind)
            if len({member.label for member in group.members}) > 1
            and not any(member.content in known for member in group.members)
        )

    def within(self, kind: str) -> tuple[tuple[Member, Member], ...]:
        """Return each image that repeats an earlier one, and that one, both in the test or both outside it.

        A near one is no exact copy of it.
        """
        pairs: list[tuple[Member, Member]] = []
        for group in self.of(kind):
            first: dict[bool, Member] = {}
            seen: set[tuple[bool, str]] = set()
            for member in group.members:
                side = member.split == TEST
                place = (side, member.content if kind == NEAR else member.name)
                if side in first and place not in seen:
                    pairs.append((member, first[side]))
                first.setdefault(side, member)
                seen.add(place)
        return tuple(pairs)


def find(split_by_name: Mapping[str, Split], progress: Progress = silent) -> Duplicates:
    """Read every image of some splits and return the copies among them; an unreadable one is passed over.

    Args:
        split_by_name: "train", "val", "test" -> its images.
        progress: told about the reading, then about the comparing.
    """
    return group(scan(split_by_name, progress), progress)


def group(looks: Sequence[Look], progress: Progress = silent) -> Duplicates:
    """Return the copies among images that were read already."""
    contents: dict[bytes, list[int]] = defaultdict(list)
    for row, content in enumerate(_contents(looks)):
        if content is not None:
            contents[content].append(row)
    exact = [{content: rows} for content, rows in contents.items() if len(rows) > 1]
    alike, together = _near({content: looks[rows[0]].print for content, rows in contents.items()}, progress)
    near_ones = [{content: contents[content] for content in same} for same in together]
    groups = [_group(EXACT, looks, same) for same in exact] + [_group(NEAR, looks, same) for same in near_ones]
    return Duplicates(tuple(groups), sum(map(len, contents.values())), alike)


def _contents(looks: Sequence[Look]) -> list[bytes | None]:
    """Return what exact copies have in common, of each image; None for one that can't be read."""
    files: dict[str, bytes] = {}
    found: list[bytes | None] = []
    for look in looks:
        own = look.print.pixels if look.print is not None else bytes.fromhex(look.sha256)
        found.append(None if look.error else files.setdefault(look.sha256, own))
    return found


def contents_of(looks: Sequence[Look], part: str) -> tuple[str, ...]:
    """Return a text for each image of a split, in its order, that exact copies have in common and no other images."""
    pairs = zip(looks, _contents(looks), strict=True)
    return tuple(look.name if own is None else own.hex() for look, own in pairs if look.split == part)


def _near(prints: Mapping[bytes, Fingerprint | None], progress: Progress) -> tuple[bool, list[list[bytes]]]:
    known = {content: one for content, one in prints.items() if one is not None}
    if near.alike([*known.values()]):
        return True, []
    together: dict[int, list[bytes]] = defaultdict(list)
    for content, root in zip(known, near.components([*known.values()], progress), strict=True):
        together[int(root)].append(content)
    return False, [same for same in together.values() if len(same) > 1]


def _group(kind: str, looks: Sequence[Look], contents: Mapping[bytes, Sequence[int]]) -> Group:
    rows = sorted((row, content.hex()) for content, same in contents.items() for row in same)
    return Group(kind, tuple(Member(looks[row].split, looks[row].name, looks[row].label, own) for row, own in rows))


def placed(looks: Sequence[Look], train: Split, test: Split) -> tuple[Look, ...]:
    """Return the looks of a dataset as its division has them: of what trains, then of what is tested on.

    Args:
        looks: of all its images.
        train: all images that train.
        test: those that are tested on.
    """
    known = {look.name: look for look in looks}
    parts = ((TRAIN, train), (TEST, test))
    return tuple(replace(known[name], split=part) for part, split in parts for name in split.names)


def told(looks: Sequence[Look], progress: Progress = silent, labels: Sequence[str] | None = None) -> Told:
    """Return what a person should know about copies before training; no sentence when there is nothing.

    Args:
        looks: of a division; see placed.
        progress: told about the comparing.
        labels: names of the classes; without them a sentence gives their numbers.
    """
    found = group(looks, progress)
    alike = (NOT_LOOKED_FOR,) if found.alike else ()
    tested = sum(one.split == TEST for one in looks)
    return Told(tuple(_leaks(found, tested)), (*_repeated(found, tested), *_two_labels(found, labels), *alike))


def _leaks(found: Duplicates, images: int) -> Iterator[str]:
    for kind, one, many, sign in (
        (EXACT, "is also a training image", "are also training images", "="),
        (NEAR, "is a near copy of a training image", "are near copies of training images", "~"),
    ):
        pairs = found.leaked(kind)
        if pairs:
            test, other = pairs[0]
            yield (
                f"{len(pairs):,} of {images:,} test images {one if len(pairs) == 1 else many} "
                f"(first: {test.name} {sign} {other.name}): accuracy on them means nothing; "
                "`atd data check` lists them"
            )


def _repeated(found: Duplicates, images: int) -> Iterator[str]:
    pairs = [(test, other) for test, other in found.within(EXACT) if test.split == TEST]
    if pairs:
        (test, other), repeat = pairs[0], "repeats another one" if len(pairs) == 1 else "repeat other ones"
        yield (
            f"{len(pairs):,} of {images:,} test images {repeat} "
            f"(first: {test.name} = {other.name}): each counts, so that intervals and tests promise too much; "
            "`atd data check` lists them"
        )


def _two_labels(found: Duplicates, labels: Sequence[str] | None) -> Iterator[str]:
    for kind, how in ((EXACT, ""), (NEAR, ", as near copies")):
        groups = found.conflicts(kind)
        if groups:
            first = two_labels(groups[0], labels)
            count = sum(len(group.members) for group in groups)
            yield f"{count:,} images stand under two labels{how} (first: {first}); `atd data check` lists them"


def two_labels(group: Group, labels: Sequence[str] | None) -> str:
    """Return "a.jpg as 'cat' and b.jpg as 'dog'" for two members of a group that differ in label."""
    one = group.members[0]
    other = next(member for member in group.members if member.label != one.label)
    return " and ".join(
        f"{member.name} as {repr(labels[member.label]) if labels is not None else f'class {member.label}'}"
        for member in (one, other)
    )
