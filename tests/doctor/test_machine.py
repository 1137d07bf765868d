"""The machine that the tests run on, against what the interpreter says of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from adaptertune_deploy.doctor import machine as machines
from adaptertune_deploy.doctor.machine import Machine, Ran, ThisMachine


@pytest.fixture
def machine() -> Machine:
    return ThisMachine()


def test_facts_of_this_process(machine: Machine) -> None:
    assert machine.python == sys.version_info[:3]
    assert machine.interpreter == sys.executable
    assert 1 <= machine.usable <= machine.cores == os.cpu_count()
    assert machine.cache == os.environ["ATD_CACHE"]


def test_distributions_and_their_files(machine: Machine) -> None:
    import numpy
    import onnxruntime

    assert machine.distributions["numpy"] == numpy.__version__
    assert machine.distributions["python-multipart"]  # python_multipart in its own spelling
    text = machine.packaged("onnxruntime", "onnxruntime/capi/build_and_package_info.py")
    assert text is not None
    assert f"'{onnxruntime.__version__}'" in text
    assert machine.packaged("onnxruntime", "no/such.py") is None
    assert machine.packaged("no-such-distribution", "x.py") is None


def test_files_and_folders(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"version \xff")
    (tmp_path / "a").mkdir()
    assert machine.names(str(tmp_path)) == ("a", "b")
    assert machine.read(str(tmp_path / "b")) == "version \ufffd"
    assert machine.read(str(tmp_path / "a")) is None
    assert machine.read(str(tmp_path / "c")) is None
    assert machine.names(str(tmp_path / "c")) == ()


def test_room_and_permission(machine: Machine, tmp_path: Path) -> None:
    deep = str(tmp_path / "not" / "made" / "yet")
    assert machine.free(deep) == pytest.approx(os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize, rel=0.2)
    assert machine.writable(deep)
    (tmp_path / "file").write_text("")
    assert not machine.writable(str(tmp_path / "file" / "below"))


def test_commands(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    assert machine.run(sys.executable, "-c", code) == Ran(3, "out\n", "err\n")
    assert machine.run("no-such-program") is None
    monkeypatch.setattr(machines, "PATIENCE", 0.2)
    assert machine.run(sys.executable, "-c", "import threading; threading.Event().wait()") is None
