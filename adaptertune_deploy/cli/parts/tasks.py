"""Which task or adapter folder a person means, and the nearest ones where there is none of that name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from adaptertune_deploy.cli.parts import options
from adaptertune_deploy.cli.terminal import next as following
from adaptertune_deploy.core.adapter import folder as artefact
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import select_tasks
from adaptertune_deploy.core.errors import FormatError, UsageError, did_you_mean

COMMAND = "atd train --dataset pets --rank 8"
FIRST = f"train one first: {COMMAND}"
MOST_NAMED = 8


def served(place: Path, text: str | None) -> list[str] | None:
    """Return the tasks of a bundle that --adapters names, None for all of them.

    Raises:
        UsageError: no name, or one that the bundle lacks; a task that only has to be added is named with the command.
        FormatError: no bundle there, or a damaged one.
    """
    with reading(place):
        manifest = bundle.read_manifest(place)
    known = [record.task.name for record in manifest.tasks]
    names = options.split_names(text, known)
    for name in names or []:
        if name in known:
            continue
        for root in dict.fromkeys((place.parent / following.ADAPTERS, following.ADAPTERS)):
            if root / name in artefact.list_adapters(root):
                add = following.command("atd", "add", root / name, options=_elsewhere(place))
                raise UsageError(f"{root / name} is trained but not in {place}/; add it with: {add}")
    select_tasks(manifest, names)
    return names


@contextmanager
def reading(place: Path) -> Iterator[None]:
    """Say what to do about a damaged file, where the error does not say it: nobody mends one by hand.

    Args:
        place: the bundle; any other file is an adapter's.
    """
    try:
        yield
    except FormatError as error:
        if ";" in str(error):
            raise
        again = "get the bundle again or make it again with: atd export"
        if not str(error).startswith(f"{place}/"):
            again = "get the adapter's folder again or train it again with: atd train"
        raise FormatError(f"{error}; {again}") from None


def _elsewhere(place: Path) -> dict[str, object]:
    return {"--bundle": following.unless(place, following.BUNDLE)}


def trained(root: Path, text: str | None) -> list[Path]:
    """Return the adapter folders below `root` that --adapters names, or all of them.

    Raises:
        UsageError: none there, no name, or one that has no folder.
    """
    there = artefact.list_adapters(root)
    if not there:
        raise UsageError(f"{root}: holds no adapters; {FIRST}")
    known = {folder.name: folder for folder in there}
    names = options.split_names(text, known)
    for name in names or []:
        if name not in known:
            raise UsageError(f"{root}: holds no adapter '{name}', only {_some(known)}.{did_you_mean(name, known)}")
    return [known[name] for name in names] if names is not None else list(there)


def adapter(root: Path, name: str) -> Path:
    """Return the adapter folder of one task.

    Raises:
        UsageError: the path of an adapter folder was given as its name.
        FormatError: there is none; the nearest are named.
    """
    folder = root / name
    if folder.is_dir() and folder.parent == root:
        return folder
    given = Path(name)
    if given.is_dir() and given.name != name:
        there = following.command(given.name, options={"--adapters-dir": given.parent})
        raise UsageError(f"--adapter {name}: expected the task's name; say --adapter {there}")
    known = [path.name for path in artefact.list_adapters(root)]
    held = f"known: {_some(known)}.{did_you_mean(name, known)}" if known else FIRST
    raise FormatError(f"{folder}: no such adapter folder; {held}")


def check_adapter_folder(folder: Path) -> None:
    """Refuse a folder that is no adapter, and name those that a person may have meant.

    Raises:
        UsageError: a bundle, or a folder of adapters.
        FormatError: nothing there, or something else.
    """
    if (folder / artefact.CONFIG_NAME).exists():
        return
    if not folder.is_dir():
        known = [str(path) for path in artefact.list_adapters(folder.parent)]
        held = f"known: {_some(known)}.{did_you_mean(str(folder), known)}" if known else FIRST
        raise FormatError(f"{folder}: no such adapter folder; {held}")
    inside = [str(path) for path in artefact.list_adapters(folder)]
    if inside:
        raise UsageError(f"{folder}: holds adapters and is none itself; give one of {_some(inside)}")
    beside = [str(path) for path in artefact.list_adapters(following.ADAPTERS)]
    advice = f"give one of {_some(beside)}, or train one: {COMMAND}" if beside else FIRST
    if (folder / bundle.MANIFEST_NAME).exists():
        raise UsageError(f"{folder}: is a bundle, not an adapter folder; {advice}")
    raise FormatError(f"{folder}: holds no {artefact.CONFIG_NAME}, so it is no adapter folder; {advice}")


def _some(names: Iterable[str]) -> str:
    found = [*names]
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return ", ".join(found[:MOST_NAMED]) + more
