"""core.errors: exit codes, statuses, suggestions."""

from __future__ import annotations

import inspect

import pytest

from adaptertune_deploy.core import errors

TREE = [value for _, value in inspect.getmembers(errors, inspect.isclass) if issubclass(value, Exception)]


@pytest.mark.parametrize("kind", TREE)
def test_wrong_usage_exits_with_2_and_everything_else_with_1(kind: type[errors.AtdError]) -> None:
    assert issubclass(kind, errors.AtdError)
    assert kind.exit_code == (2 if issubclass(kind, errors.UsageError) else 1)
    assert str(kind("one line")) == "one line"


@pytest.mark.parametrize("kind", TREE)
def test_every_error_stands_in_the_modules_tree(kind: type[errors.AtdError]) -> None:
    assert errors.__doc__ is not None
    assert f"  {kind.__name__} " in errors.__doc__


def test_a_request_error_carries_its_status() -> None:
    assert errors.RequestError("bad").status == 400
    assert errors.ImageError("large", status=413).status == 413
    assert issubclass(errors.ImageError, errors.RequestError)
    assert issubclass(errors.ParityError, errors.ExportError)


@pytest.mark.parametrize(
    ("name", "known", "answer"),
    [
        ("flwers", ["pets", "flowers"], " Did you mean 'flowers'?"),
        ("flwers", {"pets": 1, "flowers": 2}, " Did you mean 'flowers'?"),
        ("zebra", ["pets", "flowers"], ""),
        ("pets", [], ""),
    ],
)
def test_did_you_mean(name: str, known: list[str], answer: str) -> None:
    assert errors.did_you_mean(name, known) == answer
