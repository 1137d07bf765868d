"""atd list: which tasks a bundle holds, with its graphs and what was measured of them, or a running server serves."""

from __future__ import annotations

from pathlib import Path

import typer

from adaptertune_deploy.cli.parts import options
from adaptertune_deploy.cli.parts import remote as servers
from adaptertune_deploy.cli.terminal import console, manifest, table, text


def list_tasks(
    ctx: typer.Context,
    bundle: options.Bundle = Path("bundle"),
    server: servers.Server = None,
    as_json: options.Json = False,
) -> None:
    """Show a bundle's tasks and graphs, and how far each lies from torch; or what a running server serves, and why not.

    \b
    atd list
    atd list --bundle device/bundle --json
    atd list --server http://127.0.0.1:8002
    """
    import dataclasses

    from adaptertune_deploy.cli.parts import tasks
    from adaptertune_deploy.core.bundle.folder import read_manifest

    running = servers.remote(ctx, server)
    if running is not None:
        _show_index(running, as_json)
        return
    with tasks.reading(bundle):
        found = read_manifest(bundle)
    if as_json:
        console.print_json(dataclasses.asdict(found))
    else:
        manifest.show_manifest(bundle, found)


def _show_index(running: servers.Remote, as_json: bool) -> None:
    """Print every version of every task that a server has, had or could not load."""
    entries = running.index()
    if as_json:
        console.print_json(entries)
        return
    rows = [(entry["name"], entry["version"], entry["state"], entry.get("reason", "")) for entry in entries]
    words = table.Words
    columns = (words("task"), "version", words("state"), words("why"))
    ready = sum(entry["state"] == "READY" for entry in entries)
    table.show(console.out, f"{running.where}: {text.plural(ready, 'task')} served", columns, rows)
