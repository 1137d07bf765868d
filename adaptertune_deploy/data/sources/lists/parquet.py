"""Lists of images and labels as Parquet, with paths of images or the images themselves, as Hugging Face writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data import downloads
from adaptertune_deploy.data.readers import EncodedReader
from adaptertune_deploy.data.samples import Reader
from adaptertune_deploy.data.sources.lists.lines import Columns, Line, below, find_columns, make_line
from adaptertune_deploy.data.sources.suffixes import suffix_of

EXTRA = "adaptertune-deploy[parquet]"


@dataclass(frozen=True, eq=False)
class BytesReader(EncodedReader):
    """Images in memory as the bytes of their files.

    files: name -> bytes.
    """

    files: Mapping[str, bytes]

    def encoded(self, name: str) -> tuple[bytes, str]:
        """Return the bytes as they are, and the suffix of their format."""
        return self.files[name], suffix_of(self.files[name])


def check_parquet(file: Path) -> None:
    """Raise DatasetError where pyarrow is not installed."""
    downloads.require(str(file), "pyarrow", install=EXTRA)


def read_parquet(file: Path) -> tuple[list[Line], Reader | None]:
    """Read a Parquet list; images that it holds itself are kept in memory, encoded as they are.

    Returns:
        The lines, numbered from 1 without a header, and what reads the images; None when they are files.

    Raises:
        DatasetError: pyarrow is not installed, damaged, no such columns, or a row that is not whole.
    """
    check_parquet(file)
    import pyarrow
    from pyarrow import parquet

    try:
        schema = parquet.read_schema(file)
        columns = find_columns(file, schema.names)
        wanted = [name for name in (columns.image, columns.label, columns.split) if name is not None]
        table = parquet.read_table(file, columns=wanted)
    except (OSError, pyarrow.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise DatasetError(f"{file}: is no readable Parquet file ({reason:.80}); write it again") from None
    images = table[columns.image].to_pylist()
    labels = _labels(file, columns, schema, table[columns.label].to_pylist())
    splits = table[columns.split].to_pylist() if columns.split else [None] * len(labels)
    inside = bool(images) and not isinstance(images[0], str) and images[0] is not None
    names = [_name(file, number, value, inside) for number, value in enumerate(images, 1)]
    lines = [
        make_line(file, number, name, label, None if columns.split is None else str(split or ""))
        for number, (name, label, split) in enumerate(zip(names, labels, splits, strict=True), 1)
    ]
    if not inside:
        return lines, None
    return lines, BytesReader({name: _bytes(value) for name, value in zip(names, images, strict=True)})


def _name(file: Path, number: int, value: Any, inside: bool) -> str:
    """Return the path of an image, or the name of one that the list holds itself: its place."""
    if not inside:
        return below(file, value) if isinstance(value, str) and value.strip() else ""
    if not _bytes(value):
        raise DatasetError(f"{file}:{number}: holds no image, where other rows do; fill it in or remove the row")
    return f"{file.stem}/{number:06d}"


def _bytes(value: Any) -> bytes:
    data = value.get("bytes") if isinstance(value, dict) else value
    return data if isinstance(data, bytes) else b""


def _labels(file: Path, columns: Columns, schema: Any, values: list[Any]) -> list[str]:
    """Return each row's label as text: the names that Hugging Face keeps beside numbers, where there are some."""
    names = _class_names(schema, columns.label)
    labels = []
    for number, value in enumerate(values, 1):
        if isinstance(value, bool) or not isinstance(value, (int, str, type(None))):
            raise DatasetError(f"{file}:{number}: the label {value!r:.40} is neither a text nor a whole number")
        if names and isinstance(value, int):
            if not 0 <= value < len(names):
                raise DatasetError(f"{file}:{number}: the label is {value}, expected 0 to {len(names) - 1}")
            value = names[value]
        labels.append("" if value is None else str(value))
    return labels


def _class_names(schema: Any, column: str) -> list[str]:
    try:
        facts = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        return [str(name) for name in facts["info"]["features"][column]["names"]]
    except (ValueError, LookupError, TypeError):
        return []
