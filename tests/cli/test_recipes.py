"""cli.recipes: what is typed wins over a file, and a file over the defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from adaptertune_deploy.cli.recipes import recipe_of
from adaptertune_deploy.train.recipe import AUTO, Recipe


def asked(*words: str, **defaults: object) -> Recipe:
    """Return the recipe of a command with three of the options."""
    app, found = typer.Typer(), list[Recipe]()

    @app.command()
    def command(
        context: typer.Context,
        rank: Annotated[str, typer.Option("--rank")] = "8",
        lr: Annotated[float | None, typer.Option("--lr")] = None,
        seeds: Annotated[int, typer.Option("--seeds")] = 1,
        config: Annotated[Path | None, typer.Option("--config")] = None,
    ) -> None:
        found.append(recipe_of(context, config, **defaults))

    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0
    return found[0]


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "recipe.yaml"
    path.write_text("rank: 4\nlr: 0.001\nclip: 2.0\n")
    return str(path)


def test_without_words_it_is_the_usual_recipe() -> None:
    assert asked() == Recipe()
    assert asked(seeds=3) == Recipe(seeds=3)


def test_what_is_typed_wins_over_the_file(config: str) -> None:
    assert asked("--config", config) == Recipe(rank=4, lr=0.001, clip=2.0)
    assert asked("--config", config, "--lr", "0.01", "--seeds", "2", seeds=3) == Recipe(
        rank=4, lr=0.01, clip=2.0, seeds=2
    )
    assert asked("--config", config, "--rank", "8").rank == 8  # also where it is the default
    assert asked("--config", config, "--rank", "auto").search == AUTO
