from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from adaptertune_deploy.core.bundle.folder import read_manifest, write_manifest
from adaptertune_deploy.core.bundle.manifest import SHARED
from adaptertune_deploy.core.errors import ExportError
from adaptertune_deploy.engines.options import ON_CPU
from adaptertune_deploy.export.targets.triton import target
from tests.export.targets.triton.repository import copy_bundle


def keep(bundle: Path, form: str) -> None:
    manifest = read_manifest(bundle)
    graphs = tuple(graph for graph in manifest.graphs if graph.form == form)
    write_manifest(bundle, dataclasses.replace(manifest, graphs=graphs, parity=()))


def test_both_repositories_and_their_page(tmp_path: Path) -> None:
    told = target.write(copy_bundle(tmp_path), tmp_path / "triton", ON_CPU)
    assert {path.name for path in (tmp_path / "triton").iterdir()} == target.OWN
    assert [line.split(":")[0] for line in told] == ["shared/", "merged/"]
    assert "birds, cars" in told[0]
    page = (tmp_path / "triton" / "README.md").read_text()
    assert "tritonserver --model-repository=shared" in page
    assert "tritonserver --model-repository=merged" in page


@pytest.mark.parametrize(("form", "written"), [(SHARED, "shared"), ("merged", "merged")])
def test_what_the_bundle_lacks_is_left_out(tmp_path: Path, form: str, written: str) -> None:
    bundle = copy_bundle(tmp_path)
    keep(bundle, form)
    (line,) = target.write(bundle, tmp_path / "triton", ON_CPU)
    assert line.startswith(f"{written}/: ")
    assert {path.name for path in (tmp_path / "triton").iterdir()} == {written, "README.md"}


def test_a_bundle_without_graphs(tmp_path: Path) -> None:
    bundle = copy_bundle(tmp_path)
    keep(bundle, "none")
    with pytest.raises(ExportError, match="holds no graph that Triton could run"):
        target.write(bundle, tmp_path / "triton", ON_CPU)
