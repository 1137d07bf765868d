"""train.request.recipe_file: a file gives what it names, repeats a training, and every mistake in it is one line."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.train.request.recipe import AUTO, AUTO_FAST, GIVEN, Recipe, method_fields
from adaptertune_deploy.train.request.recipe_file import dump, read


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("{}", {}),
        ("lr: 0.003\nhead-lr-scale: 1\n", {"lr": 0.003, "head_lr_scale": 1}),
        ("lr: 1e-3\n", {"lr": 1e-3}),  # a text in YAML 1.1
        ("rank: auto\n", {"rank": 8, "search": AUTO, "nested": False}),
        ("rank: nested:16\n", {"rank": 16, "search": GIVEN, "nested": True}),
        ("method: head\n", {"method": "adapter", "rank": 0, "search": GIVEN, "nested": False}),
        ("method: head\nrank: 0\n", {"method": "adapter", "rank": 0, "search": GIVEN, "nested": False}),
        ("nested: true\nrank: '16'\n", {"rank": 16, "search": GIVEN, "nested": True}),
        ("nested: true\nrank: nested\n", {"rank": 32, "search": GIVEN, "nested": True}),
        ("method: full\nlr: 0.001\n", {**method_fields("full"), "lr": 0.001}),
        ("rank: 4\nship: head\n", {"rank": 4, "ship": "head"}),
        ("clip: .inf\n", None),
    ],
)
def test_a_file_gives_what_it_names(text: str, given: dict[str, Any] | None, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    if given is None:
        with pytest.raises(UsageError, match="clip: found inf, expected a number"):
            read(path)
    else:
        assert read(path) == given


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("head-lr: 0.1", r"unknown key 'head-lr'\. Did you mean 'head_lr_scale'\?"),
        ("batchsize: 8", r"unknown key 'batchsize'\. Did you mean 'batch_size'\?"),
        ("search: auto", "unknown key 'search'"),
        ("lr: fast", "lr: found 'fast', expected a number"),
        ("rank: 4.5", r"rank: found 4\.5, expected a whole number"),
        ("lr: 7", r"--lr 7\.0: expected a number between 0 and 1"),
        ("- lr", "holds a list, expected names and values"),
        ("fast", "holds one value, expected names and values"),
        ("", "holds nothing, expected names and values"),
        ("rank: 8\nrank: 8", "'rank' stands there more than once; leave one of them out"),
        ("head-lr-scale: 1\nhead_lr_scale: 2", "'head_lr_scale' stands there more than once"),
        ("method: head\nrank: 8", "method: head and rank: 8: only adapters have a rank; leave one of them out"),
        ("method: full\nrank: auto", "method: full and rank: auto: only adapters have a rank"),
        ("method: head\nnested: true", "method: head and nested: true: only adapters have a rank"),
        ("method: heads", r"--method heads: expected adapter, head or full\. Did you mean 'head'"),
        ("nested: true\nrank: auto", "nested: true and rank: auto contradict each other; leave one of them out"),
        ("nested: false\nrank: nested:8", "nested: false and rank: nested:8 contradict each other"),
        ("a: [", "not readable as YAML"),
        ("!!python/object/apply:os.system ['true']", "not readable as YAML"),
    ],
)
def test_a_mistake_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said) as found:
        read(write(tmp_path, text))
    assert str(found.value).startswith(f"--config {tmp_path}")
    assert "\n" not in str(found.value)


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--config .*nowhere\.yaml: No such file"):
        read(tmp_path / "nowhere.yaml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"--config .*binary: no text in UTF-8"):
        read(tmp_path / "binary")


@given(
    st.builds(
        Recipe,
        rank=st.integers(2, 64),
        placement=st.sampled_from(["all", "last:4", "every:2", "7", "3,7,11"]),
        views=st.integers(0, 64),
        dropout=st.floats(0, 0.9),
        drop_path=st.floats(0, 0.9),
        lr=st.floats(1e-8, 0.5),
        clip=st.floats(1e-3, 1e3),
        seed=st.integers(0, 99),
        nested=st.booleans(),
        class_weights=st.sampled_from(["balanced", "none"]),
        warmup=st.floats(0, 0.9),
    )
)
def test_what_is_written_comes_back(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe) -> None:
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    path.write_bytes(dump(recipe))
    assert Recipe(**read(path)) == recipe


def test_where_it_ran_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(dump(dataclasses.replace(Recipe(), device="cuda:1", workers=3)))
    assert {"device", "workers", "search"}.isdisjoint(read(path))
    assert path.read_text().startswith("# What this task's training was asked for")


@pytest.mark.parametrize("method", ["head", "full"])
def test_a_method_comes_back(method: str, tmp_path: Path) -> None:
    recipe = Recipe(**method_fields(method))
    path = tmp_path / "recipe.yaml"
    path.write_bytes(dump(recipe))
    assert Recipe(**read(path)) == recipe


@pytest.mark.parametrize("search", [AUTO, AUTO_FAST])
def test_a_search_is_asked_for_again(search: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(dump(Recipe(search=search)))
    assert Recipe(**read(path)) == Recipe(search=search)
