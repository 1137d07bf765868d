"""cli.recipes: what is typed wins over a file, and a file over the defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from adaptertune_deploy.cli.parts.recipes import recipe_of
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.train.request.recipe import AUTO, Recipe, method_fields
from adaptertune_deploy.train.request.recipe_file import dump


def asked(*words: str, **defaults: object) -> Recipe:
    """Return the recipe of a command with three of the options."""
    app, found = typer.Typer(), list[Recipe]()

    @app.command()
    def command(
        context: typer.Context,
        rank: Annotated[str, typer.Option("--rank")] = "8",
        method: Annotated[str, typer.Option("--method")] = "adapter",
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


def test_a_method_is_the_settings_that_others_overrule(config: str, tmp_path: Path) -> None:
    assert asked("--method", "head") == Recipe(rank=0)
    assert asked("--method", "full", "--lr", "0.001") == Recipe(**{**method_fields("full"), "lr": 0.001})
    assert asked("--config", config, "--method", "full").lr == method_fields("full")["lr"]
    (tmp_path / "full.yaml").write_text("method: full\n")
    assert asked("--config", str(tmp_path / "full.yaml"), "--method", "full") == Recipe(**method_fields("full"))
    with pytest.raises(UsageError, match=r"full\.yaml is of full fine-tuning, whose settings suit nothing else"):
        asked("--config", str(tmp_path / "full.yaml"), "--method", "adapter")
    for text in ("method: head\nclip: 2.0\n", dump(Recipe(rank=0, clip=2.0)).decode()):
        (tmp_path / "head.yaml").write_text(text)
        assert asked("--config", str(tmp_path / "head.yaml")) == Recipe(rank=0, clip=2.0)
        assert asked("--config", str(tmp_path / "head.yaml"), "--method", "adapter") == Recipe(clip=2.0)
        assert asked("--config", str(tmp_path / "head.yaml"), "--method", "adapter", "--rank", "2").rank == 2
    assert asked("--config", config, "--method", "adapter").rank == 4
    with pytest.raises(
        UsageError, match="--method head and --rank 4: only adapters have a rank; leave one of them out"
    ):
        asked("--method", "head", "--rank", "4")
