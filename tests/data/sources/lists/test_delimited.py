from __future__ import annotations

from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.sources.lists.delimited import read_delimited
from adaptertune_deploy.data.sources.lists.lines import Line


def written(folder: Path, content: str | bytes, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


WANTED = [Line(2, "a.jpg", "cat", "train"), Line(3, "b/c.jpg", "dog", "test")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.csv", "path,label,split\na.jpg,cat,train\nb/c.jpg,dog,test\n"),
        ("labels.csv", "path;label;split\na.jpg;cat;train\nb/c.jpg;dog;test"),
        ("labels.tsv", "path\tlabel\tsplit\na.jpg\tcat\ttrain\nb/c.jpg\tdog\ttest\n"),
        ("labels.csv", "\ufeffid,Split,Class,File\r\n1,train,cat,a.jpg\r\n2,test,dog,b/c.jpg\r\n"),
        ("labels.csv", '"path","label","split"\n"a.jpg","cat","train"\n"b/c.jpg","dog","test"\n\n'),
    ],
    ids=["comma", "semicolon", "tab", "mark and other columns", "quotes"],
)
def test_separators_marks_and_further_columns(tmp_path: Path, name: str, content: str) -> None:
    assert read_delimited(written(tmp_path, content, name)) == WANTED


def test_a_row_is_named_by_the_line_that_it_starts_on(tmp_path: Path) -> None:
    content = 'path,label,note\na.jpg,cat,"two\nlines"\n\nb.jpg,dog,x\n'
    assert [line.number for line in read_delimited(written(tmp_path, content))] == [2, 5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", ": is empty; expected a header with path"),
        ("a.jpg,cat\n", ":1: found the columns 'a.jpg', 'cat'; expected a header"),
        ("path,label\na.jpg,cat,extra\n", ":2: has 3 fields, expected the header's 2"),
        ("path,label\na.jpg,cat\nb.jpg\n", ":3: has 1 fields, expected the header's 2"),
        ("path,label\na.jpg,\n", ":2: has no label"),
        ("path,label\n,cat\n", ":2: has no path"),
        ('path,label\n"a.jpg"x,cat\n', ":2: .*mend the quotes"),
        ('path,label\na.jpg,"cat\n', ":2: .*mend the quotes"),
        (b"path,label\na.jpg,caf\xe9\n", r": is not UTF-8 \(byte 20\); save it as UTF-8"),
    ],
)
def test_what_does_not_fit_is_one_line_with_its_number(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(DatasetError, match=rf"labels\.csv{message}") as caught:
        read_delimited(written(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_a_file_that_vanished_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"labels\.csv: can't be read \(No such file"):
        read_delimited(tmp_path / "labels.csv")
