from __future__ import annotations

from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.sources.lists.lines import Columns, Line, below, check_lines, find_columns, make_line

FILE = Path("data/labels.csv")


@pytest.mark.parametrize("image", ["path", "file", "image", "filename", "Path", " FILE "])
@pytest.mark.parametrize("label", ["label", "class", "target", "Label"])
def test_columns_are_found_by_their_names(image: str, label: str) -> None:
    assert find_columns(FILE, ["id", label, image]) == Columns(image, label, None)
    assert find_columns(FILE, [image, "Split", label]) == Columns(image, label, "Split")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (["a.jpg", "cat"], "found the columns 'a.jpg', 'cat'; expected a header with path or file"),
        ([], "found the columns nothing; expected a header"),
        (["path"], "found the columns 'path'; expected a header"),
        (["path", "image", "label"], "the columns 'path' and 'image' could both be meant; rename or remove one"),
        (["path", "label", "class"], "the columns 'label' and 'class' could both be meant"),
        (["path", "label", "split", "Split"], "the columns 'split' and 'Split' could both be meant"),
    ],
)
def test_a_header_that_leaves_a_doubt_is_refused(header: list[str], message: str) -> None:
    with pytest.raises(DatasetError, match=rf"^data/labels\.csv:1: {message}"):
        find_columns(FILE, header)


@pytest.mark.parametrize(
    ("split", "part"),
    [
        (None, "train"),
        ("train", "train"),
        ("Training", "train"),
        ("valid", "val"),
        ("validation", "val"),
        (" test ", "test"),
    ],
)
def test_a_line_is_in_a_split(split: str | None, part: str) -> None:
    assert make_line(FILE, 4, " a.jpg ", " cat ", split) == Line(4, "a.jpg", "cat", part)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("", "cat", None), "has no path; fill it in or remove the line"),
        (("a.jpg", "  ", None), "has no label; fill it in or remove the line"),
        (("a\x00.jpg", "cat", None), r"the path 'a\\x00.jpg' can't be printed"),
        (("a.jpg", "c\x1bat", None), r"the label 'c\\x1bat' can't be printed"),
        (("a.jpg", "cat", ""), "the split is '', expected train, val or test"),
        (("a.jpg", "cat", "dev"), "the split is 'dev', expected train, val or test"),
    ],
)
def test_a_line_that_is_not_whole_is_named_by_its_number(values: tuple[str, str, str | None], message: str) -> None:
    with pytest.raises(DatasetError, match=rf"^data/labels\.csv:7: {message}"):
        make_line(FILE, 7, *values)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("cat/a.jpg", "cat/a.jpg"),
        ("./cat//b/../a.jpg", "cat/a.jpg"),
        ("../other/a.jpg", "../other/a.jpg"),
        ("{here}/data/cat/a.jpg", "cat/a.jpg"),
        ("{here}/a.jpg", "../a.jpg"),
    ],
)
def test_a_path_is_told_from_the_folder_of_the_list(path: str, name: str) -> None:
    assert below(FILE, path.format(here=Path.cwd())) == name


def lines(*rows: tuple[str, str, str]) -> list[Line]:
    return [Line(number, *row) for number, row in enumerate(rows, 2)]


def test_labels_are_in_the_order_of_the_alphabet_or_of_numbers() -> None:
    texts = lines(("1", "wren", "train"), ("2", "robin", "train"), ("3", "wren", "test"))
    assert check_lines(FILE, texts) == ("robin", "wren")
    numbers = lines(("1", "10", "train"), ("2", "9", "train"), ("3", "0", "train"))
    assert check_lines(FILE, numbers) == ("0", "9", "10")
    mixed = lines(("1", "10", "train"), ("2", "9", "train"), ("3", "x", "train"))
    assert check_lines(FILE, mixed) == ("10", "9", "x")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "cat", "train"), ("a", "cat", "train")], ":3: a is on line 2 already; remove one of the two"),
        (
            [("a", "cat", "train"), ("a", "cat", "test")],
            ":3: a is on line 2 already, here in test and there in train; remove one",
        ),
        ([("a", "cat", "train"), ("a", "dog", "train")], ":3: a is 'dog' here and 'cat' on line 2; keep one"),
        (
            [("a", "cat", "train"), ("b", "dog", "test")],
            ":3: the label 'dog' is only in test; give it",
        ),
        ([("a", "cat", "val")], ":2: the label 'cat' is only in val"),
        ([], ": lists no image; expected a header"),
    ],
)
def test_contradictions_are_named_by_both_lines(rows: list[tuple[str, str, str]], message: str) -> None:
    with pytest.raises(DatasetError, match=rf"^data/labels\.csv{message}"):
        check_lines(FILE, lines(*rows))
