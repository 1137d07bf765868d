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
    assert {path.name for path in (tmp_path / "triton").iterdir()} == {"shared", "merged", "README.md"}
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


def test_what_it_wrote_is_its_own_also_after_triton_ran_it(tmp_path: Path) -> None:
    folder = tmp_path / "triton"
    folder.mkdir()
    assert target.foreign(folder) is None
    target.write(copy_bundle(tmp_path), folder, ON_CPU)
    assert target.foreign(folder) is None
    cache = folder / "shared" / "adaptertune" / "1" / "__pycache__"
    cache.mkdir()
    (cache / "model.cpython-310.pyc").touch()
    (folder / "merged" / "nothing" / "in it").mkdir(parents=True)
    assert target.foreign(folder) is None


@pytest.mark.parametrize(
    "name",
    [
        "precious.txt",
        "shared/precious.txt",
        "shared/adaptertune/2/model.py",
        "shared/adaptertune/1/bundle/precious.txt",
        "shared/resnet/config.pbtxt",
        "merged/precious.txt",
        "merged/resnet/1/model.onnx",
        "merged/birds/precious.txt",
    ],
)
def test_one_file_of_somebody_else_is_found_among_its_own(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "triton"
    target.write(copy_bundle(tmp_path), folder, ON_CPU)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("mine")
    assert target.foreign(folder) == folder / name


@pytest.mark.parametrize("page", [None, "# My thesis", "", "# Triton model repositories"])
def test_without_its_page_nothing_is_its_own(tmp_path: Path, page: str | None) -> None:
    folder = tmp_path / "triton"
    target.write(copy_bundle(tmp_path), folder, ON_CPU)
    (folder / "README.md").unlink()
    if page is not None:
        (folder / "README.md").write_text(page)
    assert target.foreign(folder) is not None


def test_a_link_is_not_followed_and_is_somebodys_own(tmp_path: Path) -> None:
    folder = tmp_path / "triton"
    target.write(copy_bundle(tmp_path), folder, ON_CPU)
    (folder / "merged" / "more").symlink_to(folder / "merged")
    assert target.foreign(folder) == folder / "merged" / "more"
