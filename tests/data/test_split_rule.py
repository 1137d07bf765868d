"""data.split_rule: --val-split is understood or refused before there is a dataset."""

from __future__ import annotations

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.data.split_rule import parse_rule


@pytest.mark.parametrize(
    ("rule", "parsed"),
    [
        ("auto", ("auto", None)),
        ("official", ("official", None)),
        ("none", ("none", None)),
        ("stratified", ("stratified", 0.1)),
        ("stratified:0.25", ("stratified", 0.25)),
    ],
)
def test_a_rule_is_a_kind_and_a_share(rule: str, parsed: tuple[str, float | None]) -> None:
    assert parse_rule(rule) == parsed


@pytest.mark.parametrize(
    "rule", ["", "half", "stratified:0", "stratified:1", "stratified:x", "stratified:nan", "none:1"]
)
def test_another_rule_is_refused(rule: str) -> None:
    with pytest.raises(UsageError, match=f"^--val-split {rule}: expected auto, official, stratified:0.1 or none, with"):
        parse_rule(rule)
