from __future__ import annotations

import re
import shlex

import pytest

from adaptertune_deploy.cli import main
from tests.cli.conftest import Atd

COMMANDS = [
    "quickstart",
    "train",
    "sweep",
    "evaluate",
    "export",
    "add",
    "remove",
    "list",
    "inspect",
    "upgrade",
    "predict",
    "serve",
    "bench",
    "tune",
    "doctor",
]
GROUPS = {"data": ["check"]}
PAGES = [*COMMANDS, *(f"{group} {name}" for group, names in GROUPS.items() for name in names)]
# Every default that a person can't see from the command line alone.
DEFAULTS = {
    "quickstart": ["--out", "quickstart", "--rank", "8", "--epochs", "2 for digits, 4 for shapes"],
    "train": [
        "--task", "the dataset's", "--backbone", "that of the adapters in --out, else deit_tiny_patch16_224.fb_in1k",
        "--image-size", "that of the adapters in --out on this backbone, else the backbone's own",
        "--data-dir", "data/DATASET", "--weights", "the cache, else a download", "--rank", "8", "--seeds", "1",
        "--lr", "chosen by the recipe", "--ship", "auto", "--class-weights", "balanced", "--folds", "0",
        "--out", "adapters", "--placement", "all", "--epochs", "0", "--device", "auto",
    ],
    "evaluate": [
        "--split", "test", "--ship", "auto", "--dataset", "what it was trained on", "--data-dir", "data/DATASET",
        "--adapters-dir", "adapters",
    ],
    "export": [
        "--adapters", "all of them", "--images", "those that training held back", "--shared/--no-shared", "--shared",
        "--engine", "onnxruntime", "--device", "cpu", "--out", "bundle",
    ],
    "add": ["--engine", "onnxruntime", "--device", "cpu", "--precision", "fp32", "--bundle", "bundle"],
    "remove": ["--bundle", "bundle", "--server", "the bundle"],
    "list": ["--bundle", "bundle", "--server", "the bundle"],
    "sweep": [
        "--ranks", "1,2,4,8,16,32", "--seeds", "3", "--backbone", "deit_tiny_patch16_224.fb_in1k", "--out", "sweeps",
    ],
    "tune": ["--allow", "fp32 alone", "--time", "60.0"],
    "bench": [],
    "inspect": [],
    "doctor": [],
    "upgrade": [],
    "data check": ["--data-dir", "data/DATASET"],
    "predict": [
        "--adapters", "all of them", "--top-k", "3",
        "--engine", "onnxruntime", "--device", "auto", "--precision", "fp32", "-E provider=NAME", "auto",
    ],
    "serve": [
        "--adapters", "all of them", "--host", "127.0.0.1", "--port", "8000", "--drain-delay", "5.0",
        "--engine", "onnxruntime", "--device", "auto", "--precision", "fp32", "-E provider=NAME", "auto",
    ],
}  # fmt: skip


def page(atd: Atd, monkeypatch: pytest.MonkeyPatch, width: int, *arguments: str) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    done = atd(*arguments, "--help")
    assert (done.code, done.err) == (0, "")
    return done.out


def test_the_commands_are_those_of_this_test() -> None:
    assert [command.name for command in main.app.registered_commands] == COMMANDS
    groups = {group.name: group.typer_instance for group in main.app.registered_groups}
    assert {name: [command.name for command in own.registered_commands] for name, own in groups.items()} == GROUPS


@pytest.mark.parametrize("name", PAGES)
def test_every_default_is_visible(atd: Atd, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    text = page(atd, monkeypatch, 100, *name.split())
    flat = " ".join(text.split())
    for option, default in zip(DEFAULTS[name][::2], DEFAULTS[name][1::2], strict=True):
        assert re.search(rf"{re.escape(option)} (?:(?! --).)*\[default: {re.escape(default)}\]", flat), (option, text)


@pytest.mark.parametrize("width", [120, 80, 40])
@pytest.mark.parametrize("name", ["", *GROUPS, *PAGES])
def test_a_page_fits_its_terminal(atd: Atd, monkeypatch: pytest.MonkeyPatch, name: str, width: int) -> None:
    text = page(atd, monkeypatch, width, *name.split())
    lines = text.splitlines()
    assert all(len(line) <= width and line == line.rstrip() for line in lines)
    assert not re.search(r"\n\n\n|<bool>|\[bold|…", text)
    assert text.startswith(f"Usage: atd {name}".strip())


@pytest.mark.parametrize("name", PAGES)
def test_examples_are_whole_lines_that_parse(atd: Atd, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    text = page(atd, monkeypatch, 80, *name.split())
    examples = [line.strip() for line in text.splitlines() if line.startswith(f"  atd {name}")]
    assert examples, text
    known = set(re.findall(r"--[a-z-]+", text))
    for example in examples:
        words = shlex.split(re.split(r"\s{2,}", example)[0])
        assert {word for word in words if word.startswith("--")} <= known


def test_options_come_in_groups(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = page(atd, monkeypatch, 80, "train").splitlines()
    headings = [line for line in lines if re.fullmatch(r"[A-Z][a-z ]+", line)]
    assert headings == ["Data", "Adapter", "Comparison", "Training", "Where things lie", "Output", "Examples"]


def test_the_duration_of_the_quickstart_is_the_same_everywhere(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in ((), ("quickstart",)):
        found = re.findall(r"\w+ minutes", page(atd, monkeypatch, 100, *arguments))
        assert set(found) == {"few minutes"}


def test_without_a_command_the_help_is_shown(atd: Atd) -> None:
    done = atd()
    assert (done.code, done.err) == (2, "")
    assert done.out == atd("--help").out
