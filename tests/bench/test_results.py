from __future__ import annotations

import json
from pathlib import Path

import pytest

from adaptertune_deploy.bench.results import read_bench, write_bench
from adaptertune_deploy.core.errors import FormatError
from tests.bench.made import MERGED, SHARED, make_bench, ran


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    path = write_bench(tmp_path / "new", make_bench())
    assert path == tmp_path / "new" / "bench.json"
    assert read_bench(path) == make_bench()


@pytest.mark.parametrize(
    ("change", "said"),
    [({"format_version": 2}, "format_version is 2, this release reads 1"), ({"surplus": 1}, "surplus")],
)
def test_a_file_that_is_not_understood_is_refused(tmp_path: Path, change: dict[str, object], said: str) -> None:
    path = write_bench(tmp_path, make_bench())
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(FormatError, match=said):
        read_bench(path)


def test_words_and_rates() -> None:
    assert (SHARED.words, MERGED.words) == ("shared fp32 onnxruntime", "merged fp32 onnxruntime")
    assert ran(SHARED, 3, 8, 40.0, None).images_per_second == 200
