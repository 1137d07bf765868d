"""Which test tries which way to harm a server, and the page that says so.

    python -m tests.cases      (make reliability)

A test says what it tries: @pytest.mark.case("A1", what is done, what is expected). Files are read, not imported, so the
page needs nothing but Python.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- made by make reliability -->\n", "<!-- end -->\n"

# letter -> (what its cases are about, how many there are); a number stays its case's for good
GROUPS: dict[str, tuple[str, int]] = {
    "A": ("Overload, deadlines, clients that leave, connections", 8),
    "B": ("From start to end, and the engine's failures", 13),
    "C": ("The protocol", 13),
    "D": ("Images", 14),
    "E": ("Bundles, adapters, graphs", 9),
}

# What happened to others, and the cases that would find it here.
KNOWN: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("CVE-2025-23310, CVE-2025-23311", "memory by the number of chunks", ("A7",)),
    ("CVE-2025-23319, CVE-2025-23320, CVE-2025-23334", "names of shared memory in error texts", ("C11", "C12")),
    ("CVE-2025-33201", "a crash by a large body", ("C7",)),
    ("CVE-2026-24146", "outputs without number", ("C3",)),
    ("CVE-2026-24173", "sizes that overflow while they are parsed", ("C1",)),
    ("CVE-2026-24206, CVE-2026-24207", "another route to what is forbidden", ("C9",)),
    ("CVE-2026-24208, CVE-2026-24209", "model names that climb", ("C8",)),
    ("CVE-2024-53880, CVE-2024-0087, CVE-2023-31036", "sizes and paths at loading", ("C1", "C8")),
    ("CVE-2026-22773, CVE-2026-22778, CVE-2026-5497", "images of one pixel, addresses, frames", ("D8", "C11", "D7")),
    ("CVE-2024-2912, CVE-2025-27520, CVE-2024-9056", "pickles, boundaries of forms", ("E1", "D12")),
    ("CVE-2025-32434, CVE-2026-24747", "code in weights", ("E1",)),
    ("CVE-2023-44487, CVE-2025-8671", "calls that are reset as soon as they began, by either side", ("A6",)),
    ("CVE-2024-27316", "heads of HTTP/2 without an end", ("A6",)),
    (
        "CVE-2019-9511, CVE-2019-9512, CVE-2019-9513, CVE-2019-9515, CVE-2019-9517, CVE-2019-9518",
        "frames of HTTP/2 that bring nothing, answers that are not taken",
        ("A6",),
    ),
    (
        "CVE-2022-25882, CVE-2024-27318, CVE-2026-27489, CVE-2026-34446, CVE-2026-34447",
        "external data of a graph",
        ("E3",),
    ),
)

# (case, what is not done of it, and why)
NOT_DONE: tuple[tuple[str, str], ...] = (
    ("A8", "A client that half-closes after its request gets no answer: who gives up looks the same."),
    ("B7", "Loads and unloads of one name are asked for by 32 at once three times each, not a thousand times."),
    ("B9", "No curve of throughput over the number of tasks is measured."),
    (
        "B10",
        "A disk that stops answering is not tried: once the server is ready, nothing is read from it but tasks that "
        "are loaded or brought up.",
    ),
    ("B12", "No test runs for a day; `make soak` runs for ten minutes."),
    ("C10", "Of a JSON name given twice the last one counts."),
    (
        "D2",
        "A PNG whose image data has a wrong CRC, and a JPEG damaged inside a scan, are answered where Pillow decodes "
        "them.",
    ),
    ("D9", "A decoding ends between blocks, not within one: at 25 megapixels that takes tenths of a second."),
    ("E4", "A graph with a further, huge output is opened: a bundle comes from whoever runs the server."),
    ("E6", "There is no archive format: a bundle is a folder."),
)


@dataclass(frozen=True)
class Case:
    """What one test tries.

    number: of the catalogue, such as "A1".
    what: is done.
    expected: to come of it.
    test: file below tests/ and function.
    """

    number: str
    what: str
    expected: str
    test: str


def numbers() -> list[str]:
    """Return every case of the catalogue."""
    return [f"{letter}{place}" for letter, (_, count) in GROUPS.items() for place in range(1, count + 1)]


@functools.cache
def cases() -> tuple[Case, ...]:
    """Return what the tests say that they try, in the order of the catalogue."""
    found = [case for path in sorted(ROOT.glob("tests/**/test_*.py")) for case in _cases_of(path)]
    return tuple(sorted(found, key=lambda case: (case.number[0], int(case.number[1:]))))


def untried() -> list[str]:
    """Return the cases that neither a test tries nor a line explains."""
    tried = {case.number for case in cases()} | {number for number, _ in NOT_DONE}
    return [number for number in numbers() if number not in tried]


def table() -> str:
    """Return the part of the page that is made from the tests."""
    lines: list[str] = []
    for letter, (title, _) in GROUPS.items():
        lines += [f"### {letter}. {title}", *_heading("case", "what is tried", "expected", "test")]
        lines += [
            _row(case.number, case.what, case.expected, f"`{case.test}`")
            for case in cases()
            if case.number[0] == letter
        ]
        lines.append("")
    lines += ["### What happened to other servers", *_heading("known as", "what it was", "cases that would find it")]
    lines += [_row(names, what, ", ".join(found)) for names, what, found in KNOWN]
    lines += ["", "## Not done, and why", *(f"- {number}: {why}" for number, why in NOT_DONE)]
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """Return the page with its table made anew."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


def _cases_of(path: Path) -> Iterator[Case]:
    text = path.read_text()
    if "mark.case(" not in text:
        return
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            for words in _marks(node):
                yield Case(*words, test=f"{path.relative_to(ROOT / 'tests')}::{node.name}")


def _marks(node: ast.FunctionDef) -> Iterator[Sequence[str]]:
    for decorator in reversed(node.decorator_list):
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.case":
            yield [ast.literal_eval(argument) for argument in decorator.args]


def _heading(*cells: str) -> list[str]:
    return [_row(*cells), "|---" * len(cells) + "|"]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
