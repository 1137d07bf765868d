"""What atd serve takes from a tuning: everything that its own options do not say, or nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adaptertune_deploy.cli.parts import engines
from adaptertune_deploy.cli.parts.options import ENGINE, flag
from adaptertune_deploy.cli.terminal import console
from adaptertune_deploy.core.errors import AtdError

if TYPE_CHECKING:
    from adaptertune_deploy.bench.tuning import Tuning
    from adaptertune_deploy.engines.options import EngineOptions
    from adaptertune_deploy.serve.settings import Settings

NoTuning = Annotated[bool, flag("--no-tuning", ENGINE, "Ignore what atd tune measured of this bundle on this machine.")]
# The tuning is of one engine in one precision on one device: another one, or other settings, makes its numbers void.
TOGETHER = ("engine", "device", "precision", "settings")


def follow(
    ctx: typer.Context, bundle: Path, form: str, asked: EngineOptions, bounds: Settings
) -> tuple[EngineOptions, Settings]:
    """Return what a tuning of this bundle on this machine says in place of what was not asked for, and say so.

    Args:
        ctx: of the command, which knows what was typed.
        bundle: the folder.
        form: as asked for.
        asked: of the engine, with defaults where nothing was typed.
        bounds: the server's limits, likewise.

    Raises:
        EngineError: the tuning's engine can't be used here.
    """
    from adaptertune_deploy.bench.machine import describe_machine
    from adaptertune_deploy.bench.tuning import find_tuning, graphs_hash, served_form
    from adaptertune_deploy.core.bundle.folder import read_manifest

    try:
        manifest = read_manifest(bundle)
        found = find_tuning(graphs_hash(manifest, str(served_form(manifest, form))), describe_machine())
    except AtdError:  # the bundle's faults are told by who opens it; without a cache there is no tuning
        return asked, bounds
    if found.tuning is None:
        if found.reason:
            console.print_note(f"the tuning of {bundle}/ is not followed: {found.reason}")
        return asked, bounds
    contrary = next((name for name in TOGETHER if given(ctx, name) and not _agrees(name, asked, found.tuning)), None)
    if contrary is not None:
        option = "-E" if contrary == "settings" else f"--{contrary}"
        console.print_note(f"the tuning of {bundle}/ is not followed: {option} asks for something else")
        return asked, bounds
    return _followed(ctx, asked, bounds, found.tuning)


def given(ctx: typer.Context, name: str) -> bool:
    """Return whether an option was typed, or set by its environment variable."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _agrees(name: str, asked: EngineOptions, tuning: Tuning) -> bool:
    return name != "settings" and getattr(asked, name) == getattr(tuning.choice, name)


def _followed(
    ctx: typer.Context, asked: EngineOptions, bounds: Settings, tuning: Tuning
) -> tuple[EngineOptions, Settings]:
    choice = tuning.choice
    overruled = [f"--{name.replace('_', '-')}" for name in ("threads", "max_batch") if given(ctx, name)]
    but = f", but {' and '.join(overruled)} as asked" if overruled else ""
    console.print_note(f"tuned: {tuning.words}{but}")
    threads = asked.threads if given(ctx, "threads") else choice.threads
    options = engines.asked(choice.engine, choice.device, (), str(choice.precision), threads)
    return options, bounds if given(ctx, "max_batch") else replace(bounds, max_batch=choice.batch)
