"""atd upgrade: a bundle of an older format version becomes one that this release reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adaptertune_deploy.cli.parts import options
from adaptertune_deploy.cli.terminal import completion, console, interrupts, text


def upgrade(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle.", autocompletion=completion.bundles)
    ] = Path("bundle"),
    as_json: options.Json = False,
) -> None:
    """Convert a bundle that an older release wrote; needs no torch. Its answers stay what they were.

    The converted graphs are run beside the old ones before anything is replaced.

    \b
    atd upgrade
    atd upgrade device/bundle
    """
    from adaptertune_deploy.cli.parts import tasks
    from adaptertune_deploy.core.bundle.folder import MANIFEST_NAME, read_manifest
    from adaptertune_deploy.core.bundle.manifest import FORMAT_VERSION
    from adaptertune_deploy.export import version1

    with tasks.reading(bundle):
        upgraded = version1.version_of(bundle) == FORMAT_VERSION
        if upgraded:
            manifest = read_manifest(bundle)
    if not upgraded:
        with console.loading("onnx"):
            from adaptertune_deploy.export import upgrade as upgrading

        with interrupts.stoppable(interrupts.outcome(bundle / MANIFEST_NAME)), console.progress_bars() as progress:
            manifest = upgrading.upgrade(bundle, console.print_note, progress)
    if as_json:
        facts = {"bundle": str(bundle), "format_version": manifest.format_version, "converted": not upgraded}
        console.print_json(facts)
        return
    graphs = text.plural(len(manifest.graphs), "graph")
    what = "is of this version already" if upgraded else f"upgraded: {graphs}, which answer as before"
    console.print_line(f"{bundle}/ {what}")
