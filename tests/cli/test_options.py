from __future__ import annotations

import pytest

from adaptertune_deploy.cli.options import split_names


@pytest.mark.parametrize(
    ("text", "names"),
    [(None, None), ("pets", ["pets"]), ("pets,flowers", ["pets", "flowers"]), (" a , b,", ["a", "b"])],
)
def test_split_names(text: str | None, names: list[str] | None) -> None:
    assert split_names(text) == names
