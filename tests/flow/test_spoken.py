"""What a person reads: help with every default, whole lines in a pipe, labels that can't command the terminal."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from adaptertune_deploy.core.adapter.folder import read_config
from tests.builders import write_adapter
from tests.flow.playing import GOLDEN, atd_command, environment, run

DEFAULTS = {
    "train": ("--task", "--backbone", "--data-dir"),
    "evaluate": ("--split", "--dataset", "--data-dir"),
    "export": ("--adapters", "--images"),
    "predict": ("--adapters",),
    "serve": ("--adapters",),
}
COMMANDS = ("quickstart", "train", "evaluate", "export", "add", "predict", "serve")


def help_of(command: str, columns: int, folder: Path) -> str:
    variables = environment(torch=False, place=folder / "without-torch") | {"COLUMNS": str(columns)}
    done = subprocess.run(atd_command(command, "--help"), env=variables, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("command", DEFAULTS)
@pytest.mark.parametrize("columns", [80, 120])
def test_help_shows_the_defaults_that_are_no_values(command: str, columns: int, tmp_path: Path) -> None:
    shown = help_of(command, columns, tmp_path)
    for option in DEFAULTS[command]:
        explained = re.split(rf"(?m)^[ │]*{option}\b", shown)[-1]
        assert "[default:" in re.split(r"(?m)^[ │]*--[a-z]", explained)[0], (option, explained)


def test_the_usual_backbone_is_named_in_help(tmp_path: Path) -> None:
    assert "deit_tiny_patch16_224.fb_in1k" in re.sub(r"\s+", "", help_of("train", 80, tmp_path))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_that_stands_on_one_line(command: str, tmp_path: Path) -> None:
    lines = [line.strip(" │") for line in help_of(command, 80, tmp_path).splitlines()]
    examples = [line for line in lines if line.startswith(f"atd {command}")]
    assert examples
    assert not [line for line in lines if line.endswith("->")]


def test_the_two_helps_agree_how_long_the_quickstart_takes(tmp_path: Path) -> None:
    times = [
        re.findall(r"(\w+) minutes", " ".join(help_of(name, 120, tmp_path).split()))
        for name in ("quickstart", "--help")
    ]
    assert set(times[0]) == set(times[1]) != set()


def test_a_pipe_gets_whole_lines(golden: Path) -> None:
    place = "a/folder/with/a/rather/long/path/so/that/eighty/columns/are/far/too/few/for/it"
    (golden / place).mkdir(parents=True)
    shutil.move(golden / "bundle", golden / place / "bundle")
    done = narrow(golden, "add", "adapters/trees", "--bundle", f"{place}/bundle")
    assert any(f"added trees to {place}/bundle/" in line and "unchanged" in line for line in done.splitlines()), done


def test_images_of_one_name_and_long_labels_stay_apart(golden: Path) -> None:
    for folder in ("a", "b"):
        (golden / folder).mkdir()
        shutil.copy(golden / "images" / "0.png", golden / folder / "x.png")
    printed = narrow(golden, "predict", "a/x.png", "b/x.png", "--adapters", "birds")
    assert "a/x.png" in printed
    assert "b/x.png" in printed
    assert "…" not in printed
    assert re.search(r"birds \d", printed)


def narrow(folder: Path, *arguments: str) -> str:
    """Return what a command prints into a pipe when COLUMNS says 40."""
    variables = environment(torch=False, place=folder.parent / "without-torch") | {"COLUMNS": "40"}
    done = subprocess.run(
        atd_command(*arguments), cwd=folder, env=variables, capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_control_characters_in_labels_are_shown_and_not_executed(golden: Path) -> None:
    found = read_config(GOLDEN / "adapters" / "trees")
    labels = ("\x1b[2Jgone", "two\nlines", "\x9b31m", "\u202eright to left")
    task = type(found.task)("evil", labels, found.task.adapter)
    write_adapter(golden / "adapters" / "evil", task, found.backbone, found.preprocess)
    done = run(golden, "add", "adapters/evil")
    printed = done.stdout + done.stderr
    if done.returncode == 0:
        printed += run(golden, "predict", "images/0.png", "--adapters", "evil", "--top-k", "4").stdout
        assert "gone" in printed
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", printed), ascii(printed)


def test_one_task_is_not_one_tasks(golden: Path) -> None:
    done = run(golden, "add", "adapters/trees")
    assert "1 tasks" not in done.stdout
    assert "3 tasks" in done.stdout


def test_a_server_for_everybody_says_so(golden: Path) -> None:
    variables = environment(torch=False, place=golden.parent / "without-torch")
    command = atd_command("serve", "--host", "0.0.0.0", "--port", "0")
    with subprocess.Popen(
        command, cwd=golden, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert "http://" in server.stdout.readline()
        server.terminate()
        _, told = server.communicate(timeout=30)
    assert server.returncode == 0
    assert any("authentication" in line for line in told.splitlines()), told
