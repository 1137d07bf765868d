"""Lists of images and labels as text: CSV and TSV."""

from __future__ import annotations

import csv
from pathlib import Path

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.sources.lists.lines import HEADER, Line, below, find_columns, make_line

SEPARATORS = ",;\t"


def read_delimited(file: Path) -> list[Line]:
    """Read a CSV or TSV list; the header's most frequent separator of comma, semicolon and tab is the file's.

    Raises:
        DatasetError: unreadable, no UTF-8, no such header, or a line that does not fit it; with the line's number.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            return _read(file, stream.read().splitlines(keepends=True))
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file}: is not UTF-8 (byte {error.start:,}); save it as UTF-8") from None
    except OSError as error:
        raise DatasetError(f"{file}: can't be read ({error.strerror})") from None


def _read(file: Path, text: list[str]) -> list[Line]:
    if not text:
        raise DatasetError(f"{file}: is empty; {HEADER}")
    rows = csv.reader(text, delimiter=max(SEPARATORS, key=text[0].count), strict=True)
    lines: list[Line] = []
    try:
        header = next(rows)
        columns = find_columns(file, header)
        image, label = header.index(columns.image), header.index(columns.label)
        split = None if columns.split is None else header.index(columns.split)
        start = rows.line_num + 1  # a quoted field may span lines: a row is named by its first one
        for row in rows:
            number, start = start, rows.line_num + 1
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            if len(row) != len(header):
                raise DatasetError(f"{file}:{number}: has {len(row)} fields, expected the header's {len(header)}")
            lines.append(make_line(file, number, row[image], row[label], None if split is None else row[split]))
    except csv.Error as error:
        raise DatasetError(f"{file}:{rows.line_num}: {error}; mend the quotes of this line") from None
    return [Line(line.number, below(file, line.image), line.label, line.part) for line in lines]
