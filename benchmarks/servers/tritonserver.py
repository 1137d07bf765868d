"""NVIDIA's own tritonserver on a loopback port.

It comes out of the package nvidia-pytriton, in an environment of its own (`make triton-server`), since its Python
backend was built for numpy 1. ATD_TRITON names another folder of that environment.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes.util import find_library
from pathlib import Path

from benchmarks.documents import ROOT

HOME = Path(os.environ.get("ATD_TRITON", ROOT / ".venv-triton"))


class NoTritonError(Exception):
    """What is needed is not here; the message says what to do."""


def package(name: str) -> Path:
    """Return a folder of the server's environment.

    Raises:
        NoTritonError: there is no such environment.
    """
    found = sorted(HOME.glob(f"lib/python3*/site-packages/{name}"))
    if not found:
        raise NoTritonError(f"no tritonserver in {HOME}; make one with: make triton-server")
    return found[0]


def make_backends(folder: Path) -> Path:
    """Return a folder of backends with the one for Python, which is all that the package has.

    Raises:
        NoTritonError: there is no such server, or the loader lacks a library of the backend's.
    """
    server = package("pytriton") / "tritonserver"
    version = server.parents[2].name.removeprefix("python")
    if find_library(f"python{version}") is None:
        raise NoTritonError(f"the loader knows no libpython{version}.so, which Triton's Python backend needs")
    shutil.copytree(server / "backends" / "python", folder / "python")
    stub = folder / "python" / "triton_python_backend_stub"
    shutil.copyfile(server / "python_backend_stubs" / version / stub.name, stub)
    stub.chmod(0o755)
    return folder


@contextmanager
def tritonserver(
    backends: Path, repositories: Sequence[Path], log: Path, *words: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the server for the length of a `with` block, which may begin before it listens; yields it and its port.

    Args:
        backends: see make_backends.
        repositories: of models.
        log: file for what it says.
        words: further options.
    """
    program = package("pytriton") / "tritonserver" / "bin" / "tritonserver"
    program.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        *(f"--model-repository={repository}" for repository in repositories),
        f"--backend-directory={backends}",
        "--http-address=127.0.0.1",
        f"--http-port={port}",
        "--allow-grpc=false",
        "--allow-metrics=false",
        "--exit-timeout-secs=5",
        *words,
    ]
    variables = {
        **os.environ,
        "PATH": f"{HOME / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "LD_LIBRARY_PATH": str(package("nvidia_pytriton.libs")),
    }
    with (
        log.open("w") as stream,
        subprocess.Popen([program, *options], env=variables, stderr=stream, stdout=stream) as running,
    ):
        try:
            yield running, port
        finally:
            running.terminate()
