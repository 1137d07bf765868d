from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.serve.sessions.opener import Opener
from adaptertune_deploy.serve.tasks.bundle_source import BundleSource
from tests.builders import put_graph
from tests.serve.tasks.bundles import FAKE, another, drop, make_bundle, put


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_bundle(tmp_path, monkeypatch)


def source_of(folder: Path, form: str = "shared", names: list[str] | None = None) -> BundleSource:
    return BundleSource(Opener(folder, bundle.read_manifest(folder), FAKE), form, names)


def test_it_reads_the_manifest_that_stands_now(folder: Path) -> None:
    source = source_of(folder)
    put(folder, another("pets"))
    drop(folder, "digits")
    now = source.read()
    assert list(source.records(now)) == ["flowers", "pets"]
    assert source.records(now)["pets"] == now.manifest.tasks[1]
    assert list(source.records(source.first)) == ["pets", "flowers", "digits"]


def test_it_follows_the_named_tasks_only(folder: Path) -> None:
    source = source_of(folder, names=["digits", "later"])
    assert list(source.records(source.read())) == ["digits"]


def test_a_bundle_of_another_backbone_can_not_be_served(folder: Path) -> None:
    source, manifest = source_of(folder), bundle.read_manifest(folder)
    other = replace(manifest, backbone=replace(manifest.backbone, sha256="c" * 64))
    bundle.write_manifest(folder, other)
    with pytest.raises(FormatError, match="another backbone or preprocessing than this server runs; restart"):
        source.read()
    (folder / "manifest.json").write_text("{")
    with pytest.raises(FormatError, match="manifest"):
        source.read()


def test_another_shared_graph_is_nothing_to_the_merged_form(folder: Path) -> None:
    sources = [source_of(folder, form) for form in ("shared", "merged")]
    bundle.write_manifest(folder, put_graph(folder, bundle.read_manifest(folder), b"another graph"))
    with pytest.raises(FormatError, match="another shared graph than this server runs; restart the server"):
        sources[0].read()
    assert len(sources[1].records(sources[1].read())) == 3


def test_a_look_tells_a_file_from_the_one_that_stands_there_after_a_change(folder: Path) -> None:
    source, file = source_of(folder), bundle.read_manifest(folder).tasks[0].file
    manifest, before = source.look(), source.look(file)
    assert manifest is not None
    assert before is not None
    (folder / file).write_bytes(b"another")
    assert source.look(file) not in (None, before)
    assert source.look() == manifest
    (folder / file).unlink()
    assert source.look(file) is None
