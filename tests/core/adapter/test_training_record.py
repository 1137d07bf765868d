"""core.adapter.training_record: the records survive JSON whole; a fact that is absent or of another type is refused."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from adaptertune_deploy.core.adapter.training_record import DatasetRecord, RecipeRecord, in_epochs
from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.storage import records
from tests.builders import make_config, make_recipe

DATASET = make_config().dataset


@pytest.mark.parametrize("value", [DATASET, make_recipe()])
def test_a_record_survives_json(value: Any) -> None:
    assert records.parse(json.loads(records.dump(value)), type(value), "here") == value


@pytest.mark.parametrize("value", [DATASET, make_recipe()])
def test_no_fact_may_be_left_out(value: Any) -> None:
    """Only what came later may be absent: older records lack it."""
    whole = json.loads(records.dump(value))
    later = {field.name for field in dataclasses.fields(value) if field.metadata == records.LATER}
    for name in whole.keys() - later:
        rest = {key: fact for key, fact in whole.items() if key != name}
        with pytest.raises(FormatError, match=f"field '{name}' is missing"):
            records.parse(rest, type(value), "here")


def test_facts_that_came_later_are_nothing_where_they_are_left_out() -> None:
    whole = json.loads(records.dump(make_recipe()))
    later = ("method", "layer_decay", "views", "dropout", "drop_path")
    early = {name: fact for name, fact in whole.items() if name not in later}
    assert len(early) == len(whole) - 5
    assert records.parse(early, RecipeRecord, "here") == make_recipe()
    assert records.digest(make_recipe()) == records.digest(records.parse(early, RecipeRecord, "here"))


@pytest.mark.parametrize(
    ("kind", "value", "name", "found"),
    [
        (DatasetRecord, DATASET, "train", "80"),
        (DatasetRecord, DATASET, "test_rule", 0.2),
        (RecipeRecord, make_recipe(), "steps", 60.5),
        (RecipeRecord, make_recipe(), "lr", "6e-3"),
        (RecipeRecord, make_recipe(), "seed", True),
    ],
)
def test_a_fact_of_another_type_is_named(kind: type, value: Any, name: str, found: object) -> None:
    changed = {**json.loads(records.dump(value)), name: found}
    with pytest.raises(FormatError, match=f"here: {name}: found {found!r}, expected"):
        records.parse(changed, kind, "here")


@pytest.mark.parametrize(
    ("epochs", "words"),
    [(4.0, "4 epochs"), (4.01, "4 epochs"), (1.0, "1 epoch"), (40 / 34, "1.2 epochs"), (5.5, "5.5 epochs")],
)
def test_epochs_are_named_as_people_do(epochs: float, words: str) -> None:
    assert in_epochs(epochs) == words
