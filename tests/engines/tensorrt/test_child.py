"""engines.tensorrt.child: the build in a process of its own, with the double in the place of TensorRT."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.tensorrt import child
from adaptertune_deploy.engines.tensorrt.build import build
from adaptertune_deploy.engines.tensorrt.request import BuildRequest
from adaptertune_deploy.engines.tensorrt.shapes import Capacity
from tests.engines.tensorrt import double
from tests.engines.tensorrt.double import Faults

REQUEST = BuildRequest(Capacity(8, 4, 0, 0, 0), "8.6", workspace=1 << 20)
ROOT = Path(__file__).parents[3]
# What a process finds under the name tensorrt; {rest} goes wrong in its own way.
STAND_IN = """
import sys
sys.path.insert(0, {root!r})
from tests.engines.tensorrt import double
faults = double.Faults()
{rest}
module = double.make("10.3", None, faults)
module.__dict__.update(__spec__=__spec__, __loader__=__loader__)
sys.modules[__name__] = module
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that another process imports from; holds no tensorrt yet."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "tensorrt.py"


def put(stand_in: Path, rest: str = "") -> None:
    stand_in.write_text(STAND_IN.format(root=str(ROOT), rest=rest))


def test_the_plan_is_the_one_that_this_process_would_build(stand_in: Path, merged: bytes) -> None:
    put(stand_in)
    wanted = build(double.make("10.3", None, Faults()), merged, REQUEST, b"times", "g")
    assert child.build_in_child("tensorrt", merged, REQUEST, b"times", "g") == wanted


def test_the_process_loads_neither_torch_nor_onnx(stand_in: Path, merged: bytes) -> None:
    """Beside what the double itself needs; a builder has no memory to give away."""
    put(
        stand_in,
        "import atexit, os\n"
        "held = {'torch', 'onnx', 'timm', 'PIL', 'starlette', 'rich', 'typer'}\n"
        "atexit.register(lambda: os._exit(9) if held & set(sys.modules) else None)",
    )
    child.build_in_child("tensorrt", merged, REQUEST, b"", "g")


def test_what_tensorrt_refuses_comes_back_as_its_one_line(stand_in: Path, merged: bytes) -> None:
    put(stand_in, "faults.build = 'OutOfMemory'")
    with pytest.raises(EngineError, match=r"^g: tensorrt 10.3.0 can't build a plan: OutOfMemory; give the build less"):
        child.build_in_child("tensorrt", merged, REQUEST, b"", "g")


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "TensorRT's build was ended by signal 9; where memory",
        ),
        ("raise RuntimeError('broken')", "TensorRT's build failed: RuntimeError: broken"),
        (
            "raise ImportError('libnvinfer.so.10')",
            "TensorRT can't be imported (libnvinfer.so.10); install it with: pip",
        ),
    ],
)
def test_a_process_that_dies_is_told(stand_in: Path, merged: bytes, rest: str, message: str) -> None:
    put(stand_in, rest)
    with pytest.raises(EngineError) as caught:
        child.build_in_child("tensorrt", merged, REQUEST, b"", "g")
    assert message in str(caught.value)


def test_nothing_is_left_behind(stand_in: Path, merged: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(stand_in, "faults.build = 'no'")
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    with pytest.raises(EngineError):
        child.build_in_child("tensorrt", merged, REQUEST, b"", "g")
    assert not list(place.iterdir())


def test_it_is_this_python_and_this_package(stand_in: Path, merged: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    put(stand_in, f"assert sys.executable == {sys.executable!r}")
    monkeypatch.chdir(os.sep)
    child.build_in_child("tensorrt", merged, REQUEST, b"", "g")
