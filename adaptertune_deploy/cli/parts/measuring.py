"""What atd bench and atd tune ask for alike: a bundle, engines, batches, how long it may take, where samples lie."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adaptertune_deploy.cli.parts.options import ENGINE, OUTPUT, PLACES, value
from adaptertune_deploy.cli.terminal import completion, console
from adaptertune_deploy.core.errors import UsageError

if TYPE_CHECKING:
    from adaptertune_deploy.bench.known import Known
    from adaptertune_deploy.core.bundle.manifest import Manifest

NUMBER = re.compile(r"[0-9]{1,6}")
ADAPTERS = "adapters"

BundlePath = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="Folder that atd export wrote.", autocompletion=completion.bundles)
]
Engines = Annotated[
    str | None,
    value(
        "--engine",
        "NAMES",
        ENGINE,
        "Engines to compare, comma-separated.",
        "all that are installed and have the device",
        completion.engine_list,
    ),
]
Time = Annotated[float, value("--time", "SECONDS", OUTPUT, "How long to measure; more makes the numbers steadier.")]
Samples = Annotated[
    Path | None,
    value(
        "--adapters-dir",
        "FOLDER",
        PLACES,
        "Folder of the adapters, whose samples and stored answers by torch tell whether answers stay.",
        "adapters beside the bundle",
    ),
]


def numbers(option: str, text: str, least: int = 1) -> tuple[int, ...]:
    """Return the whole numbers of a comma-separated list, ascending.

    Raises:
        UsageError: something else, or one twice.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(NUMBER.fullmatch(word) for word in words) or min(map(int, words)) < least:
        raise UsageError(f"{option} {text:.60}: expected whole numbers from {least}, comma-separated")
    found = sorted(map(int, words))
    if len(set(found)) != len(found):
        raise UsageError(f"{option} {text:.60}: names a number twice; name each once")
    return tuple(found)


def check_time(seconds: float) -> None:
    """Raise UsageError unless a number of seconds can be measured in."""
    if not 0 < seconds < 1e6:
        raise UsageError(f"--time {seconds:g}: expected seconds above 0, for example 60")


def engines_named(text: str | None, device: str) -> tuple[str, ...]:
    """Return the engines of a comma-separated list, None for all that are here.

    Raises:
        UsageError: an unknown engine or device, or one twice.
        EngineError: one that this installation lacks, or none at all.
    """
    from adaptertune_deploy.bench.setups import engines_here
    from adaptertune_deploy.cli.parts import engines
    from adaptertune_deploy.core.errors import EngineError

    if text is None:
        here = engines_here(device)
        if not here:
            raise EngineError(
                f"no engine is installed that has --device {device}; pip install 'adaptertune-deploy[cpu]', or see: "
                "atd doctor"
            )
        return here
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or len(set(names)) != len(names):
        raise UsageError(f"--engine {text:.60}: expected one or more engines, each once")
    return tuple(engines.asked(name, device).engine for name in names)


def forms(bundle: Path, manifest: Manifest, form: str) -> tuple[str, ...]:
    """Return the forms of a bundle that --form names, all that answer every task for auto.

    Raises:
        UsageError: the bundle does not hold it, or holds no task.
    """
    from adaptertune_deploy.bench.setups import forms_of

    held = forms_of(manifest)
    if not manifest.tasks or not held:
        raise UsageError(f"{bundle}: holds no task to measure; export one with: atd export")
    if form != "auto" and form not in held:
        again = "atd export --merge" if form == "merged" else "atd export"
        raise UsageError(
            f"--form {form}: {bundle} does not answer every task in it, only in {', '.join(held)}; make it with: "
            f"{again}"
        )
    return held if form == "auto" else (form,)


def known_of(bundle: Path, manifest: Manifest, adapters: Path | None) -> list[Known]:
    """Return the samples of a bundle's tasks with torch's answers, and say of which tasks there are none.

    Raises:
        UsageError: a folder was named that is none.
        FormatError: an adapter's folder is damaged.
    """
    from adaptertune_deploy.bench.known import find_known

    if adapters is not None and not adapters.is_dir():
        raise UsageError(f"--adapters-dir {adapters}: no such folder; name the one that holds the adapters' folders")
    place = adapters if adapters is not None else bundle.parent / ADAPTERS
    known, reasons = find_known(place, manifest, manifest.tasks)
    if not known:
        console.print_note(f"answers are not compared with torch's: {reasons[0]}" + _more(len(reasons) - 1))
    elif reasons:
        console.print_note(f"not compared with torch's answers: {reasons[0]}" + _more(len(reasons) - 1))
    return known


def _more(others: int) -> str:
    return f", and {others} more such" if others > 0 else ""
