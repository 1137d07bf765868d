from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core.adapter.folder import Adapter, read_config, write_config
from adaptertune_deploy.core.bundle.manifest import Manifest
from adaptertune_deploy.core.errors import AtdError, EngineError, RequestError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.serve.sessions.shared_session import SharedSession
from adaptertune_deploy.serve.tasks import uploaded
from tests.builders import (
    encode,
    give_reference,
    make_backbone_spec,
    make_image,
    make_task,
    write_adapter,
    write_bundle,
)
from tests.serve.fakes import SLOTS, WIDTH, indices, make_adapters, make_shared, random_images, reference
from tests.serve.tasks.bundles import make_bundle, open_service, play

BACKBONE = make_backbone_spec(width=WIDTH, depth=len(SLOTS))
IMAGES = [encode(make_image(seed=seed)) for seed in range(3)]


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return write_bundle(tmp_path / "bundle", make_adapters(), backbone=BACKBONE)


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Adapter]:
    """An adapter folder with samples, and what ships of it."""
    folder = tmp_path / "trees"
    adapter = write_adapter(folder, make_task("trees", classes=4, rank=2), BACKBONE, seed=9)
    return folder, adapter


def answered(folder: Path, adapter: Adapter, off: float = 0.0) -> None:
    """Give the folder samples and torch's answers, which may be off by so much."""
    spec = read_config(folder).preprocess
    pixels = [preprocess.preprocess(image, spec) for image in IMAGES]
    logits = np.stack([reference(image, adapter) for image in pixels]).astype(np.float32) + np.float32(off)
    give_reference(folder, IMAGES, {"adapter": logits, "head": logits})


def sent(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_task_that_is_sent_answers_as_its_files_say(manifest: Manifest, trees: tuple[Path, Adapter]) -> None:
    folder, adapter = trees
    session, images = make_shared(), random_images(1)
    put = uploaded.put(session, manifest, "trees", sent(folder), None, "")
    assert put is not None
    key, held, digest = put
    assert (key, digest) == (3, session.digests[3])
    assert (held.task, held.tensors.keys()) == (adapter.task, adapter.tensors.keys())
    (logits,) = session.run(images, indices(0), indices(key))
    np.testing.assert_allclose(logits, reference(images[0], adapter), rtol=1e-4, atol=1e-5)
    assert uploaded.put(session, manifest, "trees", sent(folder), None, session.digests[key]) is None
    assert list(session.tasks) == [0, 1, 2, 3]


def test_it_is_verified_on_the_images_that_come_along(manifest: Manifest, trees: tuple[Path, Adapter]) -> None:
    folder, adapter = trees
    session = make_shared()
    answered(folder, adapter)
    assert uploaded.put(session, manifest, "trees", sent(folder), None, "") is not None
    answered(folder, adapter, off=0.1)
    with pytest.raises(EngineError, match="task 'trees' answers otherwise"):
        uploaded.put(session, manifest, "trees", sent(folder), None, "")
    assert list(session.tasks) == [0, 1, 2, 3]


def _other_backbone(folder: Path) -> dict[str, bytes]:
    write_adapter(folder, make_task("trees"), make_backbone_spec(width=WIDTH, depth=len(SLOTS), sha256="c" * 64))
    return sent(folder)


def _other_labels(folder: Path) -> dict[str, bytes]:
    config = read_config(folder)
    write_config(folder, replace(config, task=replace(config.task, labels=("a", "b", "c", "d"))))
    return sent(folder)


def _with(**changed: bytes) -> Callable[[Path], dict[str, bytes]]:
    return lambda folder: {**sent(folder), **{name.replace("__", "/"): data for name, data in changed.items()}}


BAD = {
    "a task of another name": (sent, "birds", "the files are of task 'trees', not of 'birds'"),
    "another backbone": (_other_backbone, "trees", "export it into a bundle of its own"),
    "other labels": (_other_labels, "trees", "labels"),
    "no config": (lambda folder: {"adapter_model.safetensors": b""}, "trees", "adapter_config.json"),
    "climbs": (lambda folder: {**sent(folder), "../x": b""}, "trees", "'../x' is no file of an adapter folder"),
    "climbs on": (lambda folder: {**sent(folder), "samples/../../x": b""}, "trees", "is no file of an adapter folder"),
    "absolute": (lambda folder: {**sent(folder), "/etc/x": b""}, "trees", "is no file of an adapter folder"),
    "cut off": (_with(**{"adapter_model.safetensors": b"\0\0\0"}), "trees", "adapter_model.safetensors"),
}


@pytest.mark.parametrize(("spoil", "name", "message"), BAD.values(), ids=BAD)
def test_what_is_no_such_task_is_refused_without_a_word_about_this_machine(
    manifest: Manifest,
    trees: tuple[Path, Adapter],
    spoil: Callable[[Path], dict[str, bytes]],
    name: str,
    message: str,
) -> None:
    session = make_shared()
    with pytest.raises(RequestError) as caught:
        uploaded.put(session, manifest, name, spoil(trees[0]), None, "")
    assert message in str(caught.value)
    assert "/tmp" not in str(caught.value)
    assert len(session.tasks) == 3


@pytest.mark.case("B6", "a disk that is full while a task is sent", "500, one line that says why")
def test_a_full_disk_is_one_line(
    manifest: Manifest, trees: tuple[Path, Adapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    files_sent = sent(trees[0])
    monkeypatch.setattr(files, "write_bytes", full)
    session = make_shared()
    with pytest.raises(AtdError) as caught:
        uploaded.put(session, manifest, "trees", files_sent, None, "")
    assert type(caught.value) is AtdError
    assert "can't be kept while they are checked (No space left on device); free space" in str(caught.value)
    assert "trees" not in str(caught.value)
    assert len(session.tasks) == 3


def test_a_task_that_gives_nan_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = open_service(make_bundle(tmp_path / "bundle", monkeypatch))
    folder = tmp_path / "trees"
    monkeypatch.setattr("tests.builders.make_tensors", lambda shapes, seed=0: {
        name: np.full(shape, 1e38, dtype=np.float32) for name, shape in shapes.items()
    })  # fmt: skip
    write_adapter(folder, make_task("trees"), BACKBONE)

    async def body() -> None:
        with pytest.raises(AtdError, match="'trees' gave logits that are NaN"):
            await service.loader.put("trees", sent(folder), None)
        assert len(service.session.tasks) == 3
        assert service.tasks.current.get("trees") is None

    play(service, body)


def test_a_merged_server_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = open_service(make_bundle(tmp_path, monkeypatch), "merged")
    assert not isinstance(service.session, SharedSession)

    async def body() -> None:
        with pytest.raises(RequestError, match="this server runs merged graphs"):
            await asyncio.shield(service.loader.put("trees", {}, None))

    play(service, body)
