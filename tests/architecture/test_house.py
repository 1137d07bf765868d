"""The house stays livable: every file has its test, no file and no function grows without end."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "adaptertune_deploy"
OTHERS = [*sorted((ROOT / "benchmarks").rglob("*.py")), *sorted((ROOT / "pretraining").rglob("*.py"))]
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name not in ("__init__.py", "__main__.py")]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_has_a_test_file_or_a_folder_of_them_of_its_name(module: Path) -> None:
    place = ROOT / "tests" / module.relative_to(PACKAGE)
    assert place.with_name(f"test_{place.name}").is_file() or any(place.with_suffix("").glob("test_*.py"))


@pytest.mark.parametrize("module", [*MODULES, *OTHERS], ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_short(module: Path) -> None:
    text = module.read_text()
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 90, f"{node.name} has {length} lines"
            work = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
            own = (node.end_lineno or 0) - work[0].lineno + 1 if work else 0
            assert own <= 60, f"{node.name} has {own} lines below its signature and docstring"


def test_no_file_names_a_registry_or_a_private_place() -> None:
    forbidden = ("pypi" + ".org", "python" + "hosted.org", "npm" + "js.org", "/" + "work/")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout, so nothing tells the project's files from others")
    for name in listed.stdout.splitlines():
        path = ROOT / name
        text = path.read_text(errors="ignore") if path.is_file() else ""
        assert not [word for word in forbidden if word in text], path
