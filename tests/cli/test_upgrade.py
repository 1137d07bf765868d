"""atd upgrade: one command that converts a bundle of version 1."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Atd
from tests.export.old_bundles import downgrade


def test_an_old_bundle_answers_again_as_before(atd: Atd, folder: Path) -> None:
    before = json.loads(atd("predict", "images/0.png", "--json").out)
    downgrade(folder / "bundle")
    refused = atd("predict", "images/0.png", "--json")
    assert refused.code != 0
    assert "atd upgrade" in refused.err
    done = atd("upgrade", "bundle")
    assert (done.code, done.out) == (0, "bundle/ upgraded: 3 graphs, which answer as before\n")
    after = json.loads(atd("predict", "images/0.png", "--json").out)
    assert [answer["task"] for answer in after] == [answer["task"] for answer in before]
    for one, other in zip(before, after, strict=True):
        for label, again in zip(one["top"], other["top"], strict=True):
            assert label["label"] == again["label"]
            assert abs(label["probability"] - again["probability"]) < 1e-5


def test_a_bundle_of_today_stays(atd: Atd, folder: Path) -> None:
    manifest = (folder / "bundle" / "manifest.json").read_bytes()
    done = atd("upgrade", "--json")
    assert json.loads(done.out) == {"bundle": "bundle", "format_version": 2, "converted": False}
    assert (folder / "bundle" / "manifest.json").read_bytes() == manifest
