"""Which backbone a task is trained on when nobody names one, and what a person should know about the choice.

One bundle holds one backbone, so a new task goes where the tasks already there are. Two kinds of backbone are never
taken over from them: the one that ships in the package, which is for a first run without a network, and random
weights, which are for tests. Both are used only where they are asked for by name.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from adaptertune_deploy.core.adapter import folder as artefact
from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.spec import BackboneSpec
from adaptertune_deploy.model.names import DEFAULT_BACKBONE, EMBEDDED_BACKBONE, RANDOM_TAG

MOST_NAMED = 4
Size = tuple[int, int]


@dataclass(frozen=True)
class Choice:
    """A backbone for a new task.

    name: timm name.
    image_size: (height, width) in pixels: what was asked for, else what all tasks already there take; None for the
        backbone's own.
    sha256: of the frozen weights that the tasks already there have; None where there are none, or several.
    sentences: what a person should read before any work.
    """

    name: str
    image_size: Size | None
    sha256: str | None
    sentences: tuple[str, ...]


def choose_backbone(asked: str | None, image_size: Size | None, out: Path, task: str) -> Choice:
    """Return the backbone that was asked for, else the one of the adapters in `out`, else the default.

    Args:
        asked: timm name, or None.
        image_size: (height, width) that was asked for, or None.
        out: folder that holds the adapter folders.
        task: the new task; its own older folder, which it will replace, can't stand in its way.
    """
    there, damaged = _read(out)
    name, reason = (asked, "") if asked is not None else _usual(there, out)
    others = {folder: spec for folder, spec in there.items() if folder.name != task}
    same = {folder: spec for folder, spec in others.items() if _may_be(spec.name, name)}
    sharing = {spec.sha256 for spec in same.values() if spec.name == name}
    apart = {folder: spec.name for folder, spec in others.items() if not _may_be(spec.name, name)}
    sentences = [f"passing over {folder}: {error}" for folder, error in damaged.items() if folder.name != task]
    if reason:
        sentences.append(reason)
    elif not _may_be(DEFAULT_BACKBONE, name):
        toy = ", the small one that ships in this package" if name == EMBEDDED_BACKBONE else ""
        sentences.append(f"training on {name}{toy}; the default is {DEFAULT_BACKBONE}")
    if apart:
        sentences.append(_apart(apart, name))
    size, said = _size(image_size, same)
    sentences += said
    return Choice(name, size, sharing.pop() if len(sharing) == 1 else None, tuple(sentences))


def other_weights(spec: BackboneSpec, out: Path, task: str) -> tuple[str, ...]:
    """Return what to say where the loaded weights are not those that the tasks in `out` were trained on.

    Args:
        spec: the backbone as it was loaded.
        out: folder that holds the adapter folders.
        task: the new task, whose own older folder does not count.
    """
    there, _ = _read(out)
    others = {folder: found for folder, found in there.items() if folder.name != task and found.name == spec.name}
    differing = {folder: found.sha256 for folder, found in others.items() if found.sha256 != spec.sha256}
    if not differing:
        return ()
    verb, theirs = "has" if len(differing) == 1 else "have", next(iter(differing.values()))
    return (
        f"{_listed(list(differing))} {verb} other weights of {spec.name} (sha256 {theirs[:12]}..., here "
        f"{spec.sha256[:12]}...), so one bundle can't hold both; give the same ones: --weights FILE",
    )


def _may_be(full: str, name: str) -> bool:
    """Tell whether a name, which may lack its tag, can stand for a full one."""
    return name in (full, full.partition(".")[0])


def _read(out: Path) -> tuple[dict[Path, BackboneSpec], dict[Path, str]]:
    """Return the backbone of every adapter folder in `out`, and what is wrong with those that can't be read."""
    there: dict[Path, BackboneSpec] = {}
    damaged: dict[Path, str] = {}
    for folder in artefact.list_adapters(out):
        try:
            there[folder] = artefact.read_config(folder).backbone
        except FormatError as error:
            damaged[folder] = str(error)
    return there, damaged


def _usual(there: dict[Path, BackboneSpec], out: Path) -> tuple[str, str]:
    """Return the usual backbone, and why it is another than the default or one of several."""
    names = Counter(spec.name for spec in there.values() if _is_inherited(spec.name))
    if not names or set(names) == {DEFAULT_BACKBONE}:
        return DEFAULT_BACKBONE, ""
    other = "for another one: --backbone NAME --out FOLDER"
    if len(names) == 1:
        name = next(iter(names))
        folders = [folder for folder, spec in there.items() if spec.name == name]
        return name, f"training on {name}, the backbone of {_listed(folders)}, not on {DEFAULT_BACKBONE}; {other}"
    most = min(names, key=lambda name: (-names[name], name))
    name, why = (DEFAULT_BACKBONE, "the default") if DEFAULT_BACKBONE in names else (most, "the most common")
    return name, f"{out} holds adapters of {len(names)} backbones; training on {name}, {why}; {other}"


def _size(asked: Size | None, same: dict[Path, BackboneSpec]) -> tuple[Size | None, list[str]]:
    """Return the image size for a task beside those on the same backbone, and what to say about theirs."""
    there = {spec.image_size for spec in same.values()}
    if asked is None:
        return (there.pop() if len(there) == 1 else None), []
    apart = [folder for folder, spec in same.items() if spec.image_size != asked]
    if not apart:
        return asked, []
    other = same[apart[0]].image_size
    return asked, [
        f"{_listed(apart)} {'takes' if len(apart) == 1 else 'take'} images of {other[0]} x {other[1]} pixels, and one "
        f"bundle holds one size: this task, at {asked[0]} x {asked[1]}, can't share it; to share, leave out "
        "--image-size, to keep them apart use another --out"
    ]


def _is_inherited(name: str) -> bool:
    return name != EMBEDDED_BACKBONE and name.partition(".")[2] != RANDOM_TAG


def _apart(apart: dict[Path, str], name: str) -> str:
    named = sorted(set(apart.values()))
    share = f"--backbone {named[0]}" if len(named) == 1 else "--backbone NAME of one of them"
    verb = "is" if len(apart) == 1 else "are"
    return (
        f"{_listed(list(apart))} {verb} on {' and '.join(named)}, and one bundle holds one backbone: this task, on "
        f"{name}, can't share it; to share, train on the same one ({share}), to keep them apart use another --out"
    )


def _listed(folders: list[Path]) -> str:
    shown = ", ".join(map(str, folders[:MOST_NAMED]))
    return shown if len(folders) <= MOST_NAMED else f"{shown} and {len(folders) - MOST_NAMED} more"
