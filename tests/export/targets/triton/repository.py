"""The golden bundle as a Triton target, and a parser of protobuf's text for its configurations."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parents[3] / "device" / "golden"
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}]|[^\s{}:]+')


def copy_bundle(folder: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / "bundle", folder / "bundle"))


def parse(text: str) -> dict[str, list[Any]]:
    """Return a text message as name -> its values, each a message or a word."""
    tokens = TOKEN.findall(text)
    message, rest = _message(tokens)
    assert rest == []
    return message


def _message(tokens: list[str]) -> tuple[dict[str, list[Any]], list[str]]:
    found: dict[str, list[Any]] = {}
    while tokens and tokens[0] != "}":
        name, *tokens = tokens
        if tokens[0] == "{":
            value, tokens = _message(tokens[1:])
            assert tokens[0] == "}"
            found.setdefault(name, []).append(value)
        else:
            found.setdefault(name, []).append(tokens[0].strip('"'))
        tokens = tokens[1:]
    return found, tokens
