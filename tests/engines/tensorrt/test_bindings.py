"""NVIDIA's real Python bindings, imported: the lists in api/ are what they say, and the engine's own use of them loads.

`make tensorrt-bindings` puts them into .venv-tensorrt/, a folder for each version. Their native libraries, gigabytes,
are not there: nine C functions that do nothing stand in for them, which is enough to import and to look.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engines.tensorrt import api_lists

ROOT = Path(__file__).parents[3]
FOLDER = Path(os.environ.get("ATD_TENSORRT_BINDINGS", ROOT / ".venv-tensorrt"))
STUBS = {
    "nvinfer": (
        "createInferBuilder_INTERNAL createInferRuntime_INTERNAL createInferRefitter_INTERNAL "
        "getBuilderPluginRegistry getPluginRegistry"
    ),
    "nvonnxparser": "createNvOnnxParser_INTERNAL createNvOnnxParserRefitter_INTERNAL getNvOnnxParserVersion",
    "nvinfer_plugin": "initLibNvInferPlugins",
}
# Prints what the module has of the names on standard input: class -> names, enum -> member -> value, and the documents
# of methods, whose first lines are their signatures.
LOOK = """
import json, re, sys
import tensorrt_bindings as trt
asked = json.load(sys.stdin)
def at(path):
    found = trt
    for part in path.split("."):
        found = getattr(found, part, None)
    return found
def text(kind, name):
    document = getattr(getattr(kind, name), "__doc__", None) or ""
    return re.sub(r"tensorrt_bindings(?:\\.tensorrt)?\\.", "", document)
print(json.dumps({
    "version": trt.__version__,
    "classes": {name: sorted(vars(at(name))) for name in asked["classes"]},
    "texts": {name: {m: text(at(name), m) for m in held["methods"]} for name, held in asked["classes"].items()},
    "enums": {name: {k: int(v) for k, v in at(name).__members__.items()} for name in asked["enums"]},
}))
"""


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with libraries that satisfy the loader, under the names of TensorRT 10 and 11."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to make stand-ins for TensorRT's native libraries")
    folder = tmp_path_factory.mktemp("stubs")
    for name, functions in STUBS.items():
        source = folder / f"{name}.c"
        source.write_text("".join(f"void *{function}(void) {{ return 0; }}\n" for function in functions.split()))
        for major in ("10", "11"):
            library = folder / f"lib{name}.so.{major}"
            options = ["-shared", "-fPIC", f"-Wl,-soname,{library.name}", "-o", str(library)]
            subprocess.run([compiler, *options, str(source)], check=True)
    return folder


def look(version: str, stubs: Path, code: str, given: str = "") -> str:
    """Return what a process prints that has the bindings of a version."""
    bindings = FOLDER / version
    if not bindings.is_dir():
        pytest.skip(f"no bindings of TensorRT {version} in {FOLDER}: make tensorrt-bindings")
    paths = os.pathsep.join([str(bindings), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=given,
        env={**os.environ, "LD_LIBRARY_PATH": str(stubs), "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_list_of_a_version_is_what_its_bindings_say(version: str, stubs: Path) -> None:
    listed: dict[str, Any] = json.loads((api_lists.FOLDER / f"tensorrt-{version}.json").read_text())
    found = json.loads(look(version, stubs, LOOK, json.dumps(listed)))
    assert found["version"] == listed["tensorrt_version"]
    assert found["enums"] == listed["enums"]
    for name, held in listed["classes"].items():
        assert {*held["properties"], *held["methods"]} <= {*found["classes"][name], "__init__"}, name
        for method, texts in held["methods"].items():
            lines = found["texts"][name][method].splitlines()
            said = {shape(line) for line in lines if re.match(r"(?:\d+\. )?" + method + r"\(self: ", line)}
            assert {shape(text) for text in texts} <= said, (name, method)


def shape(text: str) -> tuple[tuple[str, ...], int]:
    """Return a signature's parameters and how many are required; types are spelled differently by each pybind11."""
    found = api_lists.overload(text)
    return found.parameters, found.required


def test_the_engine_makes_its_logger_of_the_real_base_class(version: str, stubs: Path) -> None:
    code = (
        "import tensorrt_bindings as trt\n"
        "from adaptertune_deploy.engines.tensorrt import library\n"
        "log = library.message_log(trt)\n"
        "log.log(trt.ILogger.ERROR, 'said\\n so')\n"
        "log.log(trt.ILogger.INFO, 'not this')\n"
        "print(library.last_words(trt))"
    )
    assert look(version, stubs, code) == "said so\n"
