"""A bundle that changes, and a service that loads from it, with a numpy engine inside."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.adapter.identity import Identity
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import GraphRecord, Manifest, TaskRecord, tensor_file
from adaptertune_deploy.core.errors import AtdError
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.engines import table
from adaptertune_deploy.engines.engine import Engine
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.sessions.opener import Opener
from adaptertune_deploy.serve.sessions.room import ROOM_FOR_ALL, Room
from adaptertune_deploy.serve.sessions.session import open_from
from adaptertune_deploy.serve.settings import Settings
from adaptertune_deploy.serve.tasks.bundle_source import BundleSource
from tests.builders import make_adapter, write_bundle, write_merged
from tests.serve import fakes
from tests.serve.fakes import SLOTS, WAIT_S, WIDTH, make_adapters, make_backbone_spec, stand_in

FAKE = EngineOptions("fake")


def make_bundle(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """Write a bundle of make_adapters() with both forms, whose graphs the fake engine opens."""
    patch.setitem(table.ENGINES, "fake", fakes.ENTRY)
    patch.setattr(os, "fsync", lambda _: None)  # hundreds of changes, and no power that fails
    fakes.OPENED.clear()
    manifest = write_bundle(folder, make_adapters(), graph=stand_in("shared"))
    write_merged(folder, manifest, {record.task.name: stand_in(record.task.name) for record in manifest.tasks})
    return folder


def another(name: str, seed: int = 50) -> Adapter:
    """Return other tensors for a task of make_adapters()."""
    task = next(adapter.task for adapter in make_adapters() if adapter.task.name == name)
    return make_adapter(task, make_backbone_spec(width=WIDTH, depth=len(SLOTS)), seed)


def put(folder: Path, adapter: Adapter) -> Manifest:
    """Put a task into a bundle, in the place of the one of its name, as core.bundle.publish would."""
    manifest = bundle.read_manifest(folder)
    data = adapters.pack(adapter.tensors, Identity(adapter.task, manifest.backbone, manifest.preprocess))
    digest = files.sha256_bytes(data)
    record = TaskRecord(adapter.task, tensor_file(adapter.task.name, digest), digest)
    files.write_bytes(folder / record.file, data)
    kept = [held for held in manifest.tasks if held.task.name != adapter.task.name]
    changed = replace(manifest, tasks=(*kept, record))
    bundle.write_manifest(folder, changed)
    return changed


def replace_task(folder: Path, adapter: Adapter) -> None:
    """Put a task in the place of the one of its name, whose file goes, as core.bundle.publish does."""
    old = set(bundle.read_manifest(folder).files)
    for file in old - set(put(folder, adapter).files):
        (folder / file).unlink()


def after_a_graph(patch: pytest.MonkeyPatch, change: Callable[[], object], times: int = 1) -> list[Path]:
    """Change a bundle when a graph of it was opened, so many times; return the folder of each graph, later ones too."""
    real, found = Opener.open, list[Path]()

    def opened(self: Opener, graph: GraphRecord) -> Engine:
        engine = real(self, graph)
        found.append(self.folder)
        if len(found) <= times:
            change()
        return engine

    patch.setattr(Opener, "open", opened)
    return found


def drop(folder: Path, name: str) -> None:
    """Take a task out of a bundle's manifest."""
    manifest = bundle.read_manifest(folder)
    graphs = tuple(graph for graph in manifest.graphs if graph.task != name)
    tasks = tuple(record for record in manifest.tasks if record.task.name != name)
    bundle.write_manifest(folder, replace(manifest, tasks=tasks, graphs=graphs))


def open_service(
    folder: Path,
    form: str = "shared",
    names: list[str] | None = None,
    left_out: dict[str, AtdError] | None = None,
    room: Room = ROOM_FOR_ALL,
    settings: Settings | None = None,
) -> Service:
    """Return a service over a bundle, which may load from it; `left_out` makes the start a lenient one."""
    opener = Opener(folder, bundle.read_manifest(folder), FAKE)
    session = open_from(opener, names, form, left_out, room)
    source = BundleSource(opener, session.form, names, left_out, pinned=room.pinned)
    return Service(session, replace(settings or Settings(), slots=room.slots), source)


def open_real(folder: Path, form: str, room: Room = ROOM_FOR_ALL) -> Service:
    """Return a service over ONNX Runtime, which runs the network of tests.serve.fakes."""
    from tests.serve.tiny_graph import merged_graph, shared_graph

    adapters = make_adapters()
    manifest = write_bundle(folder, adapters, graph=shared_graph())
    manifest = write_merged(folder, manifest, {adapter.task.name: merged_graph(adapter) for adapter in adapters})
    opener = Opener(folder, manifest, EngineOptions(device="cpu", threads=1))
    session = open_from(opener, None, form, room=room)
    source = BundleSource(opener, session.form, pinned=room.pinned)
    return Service(session, Settings(slots=room.slots), source)


def play(service: Service, body: Callable[[], Awaitable[None]], seconds: float = WAIT_S) -> None:
    """Run a scenario on a service that is warm."""

    async def run() -> None:
        service.start()
        while service.not_ready is not None:
            await asyncio.sleep(0)
        try:
            await asyncio.wait_for(body(), seconds)
        finally:
            await service.close()

    asyncio.run(run())


def spoiled(name: str) -> Adapter:
    """Return a task whose tensors are finite and whose answers are not."""
    adapter = another(name)
    tensors = {key: np.full_like(value, 1e38) for key, value in adapter.tensors.items()}
    return Adapter(adapter.task, tensors)


def resident() -> int:
    """Return this process's resident bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
