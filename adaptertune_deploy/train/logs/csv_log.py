"""Steps as a CSV file, a line a step of every training of a run."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from adaptertune_deploy.core.storage import files
from adaptertune_deploy.train.logs.log import Line

NAME = "steps.csv"
COLUMNS = ("training", "step", "lr", "loss", "time")


class CsvLog:
    """The file, owned here; rows of trainings follow one another.

    Args:
        folder: holds it; a file that is there is gone on with.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    def begin(self, training: str, step: int) -> None:
        """Keep the whole rows of other trainings, and of this one those up to a step."""
        kept = [row for row in self._rows() if row[0] != training or int(row[1]) <= step]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *kept])
        files.write_bytes(self._path, text.getvalue().encode())

    def write(self, training: str, line: Line) -> None:
        """Add a row; the file is closed after it."""
        row = (training, line.step, f"{line.lr:.6g}", f"{line.loss:.6g}", f"{line.time:.3f}")
        with self._path.open("a", encoding="utf-8", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerow(row)

    def close(self) -> None:
        """Do nothing: no file is held open."""

    def _rows(self) -> list[list[str]]:
        """Return the rows that were written whole; a killed run may leave a part of one."""
        if not self._path.is_file():
            return []
        text = self._path.read_text(encoding="utf-8", errors="replace")
        whole = text[: text.rfind("\n") + 1]
        rows = list(csv.reader(io.StringIO(whole)))[1:]
        return [row for row in rows if len(row) == len(COLUMNS) and row[1].isdigit()]
