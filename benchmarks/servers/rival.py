"""tritonserver with one ONNX model for each task, as people serve fine-tuned models who have no shared backbone."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import SHARED, select_graph
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.spec import TaskSpec
from adaptertune_deploy.export.merge import merged_graph
from adaptertune_deploy.export.targets.triton import config
from adaptertune_deploy.export.targets.triton.config import Message, Word
from benchmarks.clients.http1 import Connection
from benchmarks.servers.atd import READY, Server, ask
from benchmarks.servers.tritonserver import HOME, make_backends, tritonserver

BATCH = 8  # rows of a run at most
PATIENCE = 600  # times that readiness is asked for, a tenth of a second apart
VERSIONS = "import importlib.metadata as m; print(m.version('onnxruntime'), m.version('nvidia-pytriton'))"


def write_repository(folder: Path, repository: Path, threads: int) -> None:
    """Write a bundle's tasks as models of their names, each with a graph of its own.

    Args:
        folder: of a bundle with the shared graph.
        repository: of models, which need not exist.
        threads: of each model's session.
    """
    manifest = bundle.read_manifest(folder)
    shared = bundle.read_graph(folder, select_graph(manifest, SHARED, Precision.FP32))
    for record in manifest.tasks:
        graph = merged_graph(shared, bundle.read_task(folder, manifest, record), bundle.merged_facts(manifest, record))
        model = repository / record.task.name
        (model / "1").mkdir(parents=True)
        (model / "1" / "model.onnx").write_bytes(graph)
        shutil.copyfile(Path(__file__).with_name("rival_model.py"), model / "1" / "model.py")
        (model / "config.pbtxt").write_text(config.text(_config(record.task, threads)))


def _config(task: TaskSpec, threads: int) -> Message:
    return {
        "name": task.name,
        "backend": "python",
        "max_batch_size": BATCH,
        "input": [config.tensor("image", "STRING", [1])],
        "output": [config.tensor("logits", "FP32", [len(task.labels)])],
        "instance_group": [{"kind": Word("KIND_CPU"), "count": 1}],
        "dynamic_batching": config.queue(),
        "parameters": {"key": "threads", "value": {"string_value": str(threads)}},
    }


@contextlib.contextmanager
def rival(repository: Path, scratch: Path) -> Iterator[Server]:
    """Serve such a repository for the length of a `with` block.

    Raises:
        NoTritonError: there is no tritonserver here.
        RuntimeError: it did not become ready.
    """
    backends, log = make_backends(scratch / "backends"), scratch / "triton.log"
    with tritonserver(backends, [repository], log) as (running, port):
        for _ in range(PATIENCE):
            if running.poll() is not None:
                break
            if ask(Connection(port), READY)[0] == 200:
                yield Server(running.pid, port)
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(0.1)
        raise RuntimeError(f"tritonserver did not become ready: {log.read_text()[-3000:]}")


def versions() -> dict[str, str]:
    """Return the versions of what runs there."""
    done = subprocess.run([HOME / "bin" / "python", "-c", VERSIONS], capture_output=True, text=True, check=True)
    return dict(zip(("onnxruntime", "nvidia-pytriton"), done.stdout.split(), strict=True))
