"""docs/tuning.md does what it says: its commands run in their order, in a folder with the golden bundle."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.bench.golden import give_answers
from tests.flow.playing import ROOT, atd_command, copy_golden, environment
from tests.flow.waiting import wait_until_ready

PAGE = (ROOT / "docs" / "tuning.md").read_text()
LINES = [
    line.partition("  #")[0] for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
]
COMMANDS = [shlex.split(line) for line in LINES if line.startswith("atd ")]
QUICK = ("--time", "0.5", "--engine", "onnxruntime")


def serve(words: list[str], folder: Path, variables: dict[str, str]) -> str:
    """Start a server as the page does, and return what it said on standard error until it was told to stop."""
    command = atd_command(*words, "--port", "0")
    with subprocess.Popen(
        command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found is not None
        wait_until_ready(found[0])
        server.terminate()
        said = server.communicate(timeout=60)[1]
    assert server.returncode == 0
    return said


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, str]]:
    """Return each command of the page with what it printed, without torch and onnx; measurements are shortened."""
    folder = copy_golden(tmp_path_factory.mktemp("tuning"))
    give_answers(folder / "adapters")
    variables = {**environment(torch=False, place=folder.parent / "without"), "ATD_CACHE": str(folder / "cache")}
    found = []
    for command in COMMANDS:
        words = command[1:]
        if words[0] == "serve":
            found.append((shlex.join(command), "", serve(words, folder, variables)))
            continue
        done = subprocess.run(
            atd_command(*words, *QUICK), cwd=folder, env=variables, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, (command, done.stderr)
        found.append((shlex.join(command), done.stdout, done.stderr))
    assert {path.name for path in (folder / "bench").iterdir()} == {"bench.json", "bench.png"}
    return found


def test_every_command_of_the_page_was_played(played: list[tuple[str, str, str]]) -> None:
    ran = [command for command, _, _ in played]
    assert {"atd bench", "atd tune", "atd tune --allow bf16,int8", "atd serve", "atd serve --no-tuning"} <= set(ran)
    assert not [error for _, _, error in played if "Traceback" in error]


def test_a_tuning_says_what_it_chose_and_a_server_follows_it_or_not(played: list[tuple[str, str, str]]) -> None:
    printed = {command: (out, error) for command, out, error in played}
    for command in (name for name in printed if name.startswith("atd tune")):
        assert re.search(r"^written to .*; atd serve follows it", printed[command][0], re.MULTILINE)
    assert "note: tuned: " in printed["atd serve"][1].splitlines()[0]
    assert "tuned" not in printed["atd serve --no-tuning"][1]


def test_a_measurement_says_what_it_measured(played: list[tuple[str, str, str]]) -> None:
    printed = {command: out for command, out, _ in played}
    for form in ("shared", "merged"):
        assert f"{form} fp32 onnxruntime" in printed["atd bench"]
    assert json.loads(printed["atd bench --engine onnxruntime --precision fp32 --json"])["ran"]


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert os.path.exists(ROOT / "docs" / target), target
