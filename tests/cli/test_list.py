from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Atd


def test_json_holds_the_records(atd: Atd, measured: Path) -> None:
    document = json.loads(atd("list", "--json").out)
    assert document == json.loads((measured / "manifest.json").read_text())
    assert [graph["precision"] for graph in document["graphs"]] == ["fp32"] * 3


def test_no_bundle_is_one_line(atd: Atd) -> None:
    done = atd("list", "--bundle", "images")
    assert (done.code, done.out) == (1, "")
    assert done.err == "error: images: holds no manifest.json; make a bundle with: atd export\n"
