"""cli.parts.typed: what was typed is told from defaults, and handed on in its order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer.testing import CliRunner

from adaptertune_deploy.cli.parts.typed import carried, is_typed


def test_what_was_typed_is_handed_on_where_the_other_command_takes_it() -> None:
    app, found = typer.Typer(), []

    @app.command()
    def command(
        context: typer.Context,
        dataset: Annotated[str, typer.Option("--dataset")],
        allow_random: Annotated[bool, typer.Option("--allow-random-backbone")] = False,
        rank: Annotated[str, typer.Option("--rank")] = "8",
        lr: Annotated[float | None, typer.Option("--lr")] = None,
        folds: Annotated[int, typer.Option("--folds", envvar="FOLDS")] = 0,
        out: Annotated[Path, typer.Option("--out")] = Path("here"),
    ) -> None:
        found.append(carried(context, {"dataset", "allow_random", "rank", "lr", "folds"}))
        found.append({name for name in context.params if is_typed(context, name)})

    words = ["--rank", "8", "--out", "there", "--dataset", "pets", "--allow-random-backbone"]
    assert CliRunner().invoke(app, words, catch_exceptions=False, env={"FOLDS": "2"}).exit_code == 0
    options, names = found
    assert list(options.items()) == [
        ("--dataset", "pets"),
        ("--allow-random-backbone", True),
        ("--rank", "8"),
        ("--folds", 2),
    ]
    assert names == {"dataset", "allow_random", "rank", "folds", "out"}
