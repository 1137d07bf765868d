"""The house's rules on imports, read from the source and seen in fresh interpreters."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "adaptertune_deploy"
MODULES = sorted(PACKAGE.rglob("*.py"))

# part -> parts it may import from
ALLOWED = {
    "core": {"core"},
    "model": {"core", "model"},
    "engines": {"core", "engines"},
    "data": {"core", "data"},
    "report": {"core", "report"},
    "train": {"core", "model", "data", "report", "train"},
    "export": {"core", "model", "engines", "export"},
    "serve": {"core", "engines", "serve"},
    "bench": {"core", "engines", "serve", "report", "bench"},
    "doctor": {"core", "engines", "doctor"},
    "inspection": {"core", "engines", "inspection"},
    "cli": {"core", "model", "engines", "data", "train", "export", "serve", "bench", "doctor", "inspection", "cli"},
}
COMMANDS = (
    *("add", "bench", "data", "doctor", "evaluate", "export", "inspect", "list", "predict", "remove", "serve", "train"),
    *("tune", "upgrade"),
)
# part -> its rooms and the modules beside them -> those of them that each may import from
ROOMS: dict[str, dict[str, set[str]]] = {
    "core": {
        "errors": set(),
        "precision": {"errors"},
        "cores": set(),
        "processor": {"cores"},
        "extras": set(),
        "progress": set(),
        "storage": {"errors"},
        "spec": {"storage"},
        "images": {"errors", "spec"},
        "adapter": {"errors", "images", "precision", "spec", "storage"},
        "answers": {"adapter", "spec", "storage"},
        "bundle": {"adapter", "answers", "errors", "precision", "spec", "storage"},
    },
    "train": {
        "outcome": set(),
        "device": set(),
        "logs": set(),
        "parallel": set(),
        "resume": {"outcome"},
        "probe": {"outcome"},
        "evaluation": {"device", "outcome"},
        "request": {"device", "logs", "resume"},
        "loop": {"device", "logs", "outcome", "parallel", "probe", "request", "resume"},
        "run": {"device", "logs", "loop", "parallel", "request", "resume"},
        "shared": {"device", "loop", "parallel", "probe", "request", "resume", "run"},
        "artefact": {"outcome", "probe", "request", "run"},
        "comparison": {"evaluation", "logs", "loop", "outcome", "probe", "request", "resume", "run", "shared"},
        "rank": {"comparison", "outcome", "probe", "request", "resume", "run"},
        "nested": {"comparison", "evaluation", "outcome", "probe", "rank", "request", "run"},
        "prepare": {"comparison", "device", "logs", "loop", "probe", "request", "resume", "run"},
        "sweep": {
            "comparison",
            "nested",
            "outcome",
            "parallel",
            "prepare",
            "probe",
            "rank",
            "request",
            "resume",
            "run",
            "shared",
        },
        "trainer": {
            *("artefact", "comparison", "nested", "outcome", "parallel", "prepare", "probe", "rank", "request"),
            *("resume", "run", "shared"),
        },
    },
    "engines": {
        "bfloat16": set(),
        "heap": set(),
        "limits": set(),
        "options": set(),
        "engine": {"limits"},
        "cuda": {"engine", "options"},
        "engine_facts": {"engine", "limits"},
        "feeds": {"engine"},
        "onnx": {"engine"},
        "outputs": {"engine"},
        "bank": {"engine", "onnx", "outputs"},
        "onnxruntime": {"bank", "cuda", "engine", "feeds", "heap", "limits", "onnx", "options"},
        "openvino": {"bank", "bfloat16", "engine", "feeds", "heap", "limits", "onnx", "options"},
        "tensorrt": {"bank", "cuda", "engine", "feeds", "limits", "onnx", "options"},
        "table": {"onnxruntime", "openvino", "options", "tensorrt"},
        "instances": {"options", "table"},
        "opening": {"engine", "onnx", "options", "table"},
        "verification": {"bank", "engine", "opening", "options", "outputs", "table"},
    },
    "serve": {
        "answers": set(),
        "companion": set(),
        "listening": set(),
        "logs": set(),
        "sessions": set(),
        "settings": set(),
        "timing": set(),
        "mixed_requests": {"answers", "sessions"},
        "offline": {"answers", "sessions"},
        "tasks": {"listening", "sessions", "settings", "timing"},
        "batching": {"logs", "sessions", "settings", "tasks", "timing"},
        "facts": {"tasks"},
        "triton_model": {"mixed_requests", "sessions"},
        "decoding": {"batching", "settings", "timing"},
        "opening": {"facts", "sessions", "tasks"},
        "statistics": {"batching", "tasks"},
        "metrics": {"batching", "statistics", "tasks"},
        "response_cache": {"batching", "decoding", "tasks", "timing"},
        "answering": {"batching", "decoding", "response_cache", "statistics", "tasks", "timing"},
        "service": {
            "answering",
            "batching",
            "decoding",
            "metrics",
            "response_cache",
            "sessions",
            "settings",
            "statistics",
            "tasks",
            "timing",
        },
        "protocol": {"answers", "batching", "service", "sessions", "settings", "statistics", "tasks"},
        "http": {
            "answering",
            "answers",
            "batching",
            "companion",
            "decoding",
            "facts",
            "listening",
            "logs",
            "metrics",
            "protocol",
            "service",
            "sessions",
            "settings",
            "tasks",
            "timing",
        },
        "grpc": {"http", "listening", "logs", "metrics", "protocol", "service", "settings", "timing"},
        "ray": {"http", "logs", "opening", "service", "settings", "tasks"},
    },
    "cli": {
        "terminal": set(),
        "parts": {"terminal"},
        "quickstart": {"parts", "terminal"},
        **{command: {"parts", "terminal"} for command in COMMANDS},
        "sweep": {"parts", "terminal", "train"},
        "main": {"quickstart", "sweep", "terminal", *COMMANDS},
        "start": {"main", "terminal"},
    },
}
# heavy library -> files that may import it
HOMES = {
    "timm": {"model/"},
    "onnxruntime": {"engines/onnxruntime/library.py"},
    "openvino": {"engines/openvino/library.py"},
    "cuda": {"engines/cuda/runtime.py"},
    "tensorrt": {"engines/tensorrt/"},
    "tensorrt_rtx": {"engines/tensorrt/"},
    "onnx": {"export/"},
    "onnxscript": {"export/"},
    "onnx_ir": {"export/"},
    "torch": {"model/", "data/", "train/", "export/"},
    "torchvision": {"data/"},
    "sklearn": {"data/sources/", "train/"},
    "matplotlib": {"report/"},
    "yaml": {"train/request/recipe_file.py"},
    "starlette": {"serve/http/"},
    "uvicorn": {"serve/http/"},
    "httptools": {"serve/http/"},
    "msgspec": {"serve/http/"},
    "grpc": {"serve/grpc/"},
    "ray": {"serve/ray/deployment.py"},
    "google": {"serve/grpc/"},
    "typer": {"cli/"},
    "rich": {"cli/"},
    "triton_python_backend_utils": {"serve/triton_model.py"},
}


def part_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0]


def imports(module: Path, top_level_only: bool = False) -> Iterator[str]:
    tree = ast.parse(module.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            yield node.module or ""


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_its_part_may_know(module: Path) -> None:
    if module.parent == PACKAGE:
        return
    for name in imports(module):
        if name.startswith("adaptertune_deploy."):
            assert name.split(".")[1] in ALLOWED[part_of(module)], f"{module.name} imports {name}"


@pytest.mark.parametrize(
    "module",
    [module for part in ROOMS for module in sorted((PACKAGE / part).rglob("*.py"))],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_the_rooms_of_a_part_know_each_other_one_way(module: Path) -> None:
    part, room = (name.removesuffix(".py") for name in module.relative_to(PACKAGE).parts[:2])
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"adaptertune_deploy.{part}."):
            rest = (node.module or "").split(".")[2:]
            for other in rest[:1] or [alias.name for alias in node.names]:
                assert other in ROOMS[part][room] | {room}, f"{module.name} imports {other}"


@pytest.mark.parametrize("part", ROOMS)
def test_no_room_needs_one_that_needs_it(part: str) -> None:
    left = dict(ROOMS[part])
    while free := {room for room, uses in left.items() if not uses & left.keys()}:
        left = {room: uses for room, uses in left.items() if room not in free}
    assert not left


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_heavy_library_stays_in_its_home(module: Path) -> None:
    place = str(module.relative_to(PACKAGE))
    for name in imports(module):
        homes = HOMES.get(name.split(".")[0])
        if homes is not None:
            assert any(place.startswith(home) for home in homes), f"{place} imports {name}"


def test_no_import_cycle() -> None:
    graph: dict[str, set[str]] = {}
    for module in MODULES:
        name = "adaptertune_deploy." + ".".join(module.relative_to(PACKAGE).with_suffix("").parts)
        graph[name] = set()
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("adaptertune_deploy"):
                graph[name] |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    finished: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name in finished:
            return
        for target in graph[name] & graph.keys():
            visit(target, (*path, name))
        finished.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("module", [m for m in MODULES if m.name == "__init__.py"], ids=str)
def test_an_init_file_holds_no_code(module: Path) -> None:
    body = ast.parse(module.read_text()).body
    if module.parent == PACKAGE:  # names that are imported when they are asked for
        lazy = [node for node in body if isinstance(node, (ast.FunctionDef, ast.If, ast.ImportFrom))]
        assert [ast.unparse(node).splitlines()[0] for node in lazy] == [
            "from typing import TYPE_CHECKING",
            "if TYPE_CHECKING:",
            "def __getattr__(name: str) -> object:",
            "def __dir__() -> list[str]:",
        ]
        body = [node for node in body if node not in lazy]
    assert all(isinstance(node, (ast.Expr, ast.Assign)) for node in body)


def test_the_package_alone_loads_nothing_of_it_and_no_library() -> None:
    code = """
        import adaptertune_deploy as atd
        assert "open_bundle" in dir(atd)
        atd.open_bundle, atd.train_task, atd.EngineOptions, atd.Precision, atd.AtdError
        assert not [name for name in sys.modules if name.startswith("adaptertune_deploy.model")]
    """
    assert not loaded_after(textwrap.dedent(code)) & {*HEAVY, "pydantic", "safetensors", "typer", "rich"}
    before = "names = set(sys.modules)\nimport adaptertune_deploy\nadded = set(sys.modules) - names"
    script = f"import sys, typing\n{before}\nassert added == {{'adaptertune_deploy'}}, added"
    subprocess.run([sys.executable, "-c", script], check=True)


HEAVY = (
    "torch",
    "timm",
    "onnx",
    "onnxruntime",
    "openvino",
    "sklearn",
    "matplotlib",
    "starlette",
    "uvicorn",
    "numpy",
    "PIL",
)
DEVICE_SIDE = ("torch", "timm", "onnx", "sklearn", "matplotlib")


def loaded_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(' '.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_command_line_starts_without_any_heavy_library() -> None:
    loaded = loaded_after("import adaptertune_deploy.cli.main")
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize("part", ["core", "engines", "serve", "bench", "doctor", "inspection"])
def test_the_device_side_loads_without_the_training_side(part: str) -> None:
    files = sorted((PACKAGE / part).rglob("*.py"))
    names = ["adaptertune_deploy." + ".".join(file.relative_to(PACKAGE).with_suffix("").parts) for file in files]
    loaded = loaded_after("\n".join(f"import {name}" for name in names if not name.endswith("__init__")))
    assert not loaded & set(DEVICE_SIDE)


@pytest.mark.parametrize("words", ["train --dataset nope", "export --adapters nope", "add nope", "serve --bundle nope"])
def test_a_mistyped_name_is_refused_before_anything_heavy_is_loaded(words: str, tmp_path: Path) -> None:
    code = f"""
        import os
        from adaptertune_deploy.cli.main import run
        os.chdir({str(tmp_path)!r})
        sys.argv[1:] = {words.split()!r}
        try:
            run()
        except SystemExit as end:
            assert end.code in (1, 2), end.code
    """
    assert not loaded_after(textwrap.dedent(code)) & {*HEAVY, "pydantic", "safetensors"}
