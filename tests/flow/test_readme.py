"""The README does what it says: its commands are read from the file and run in its order, in one folder."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from adaptertune_deploy.core.adapter.folder import read_config
from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.core.precision import Precision
from tests.flow.conftest import Workspace
from tests.flow.playing import ROOT, atd_command, environment
from tests.flow.waiting import wait_until_ready

README = (ROOT / "README.md").read_text()
DEFAULT = "deit_tiny_patch16_224.fb_in1k"


def blocks(heading: str, language: str) -> list[str]:
    """Return the code blocks of a language below a heading."""
    section = README.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def commands(heading: str) -> list[list[str]]:
    """Return the commands of the first shell block below a heading, comments left out."""
    lines = [line.partition("  #")[0].strip() for line in blocks(heading, "sh")[0].splitlines()]
    return [shlex.split(line) for line in lines if line and not line.startswith("#")]


def test_the_first_commands_are_the_makefiles() -> None:
    assert commands("Start") == [["make", "quickstart"], ["make", "test"]]
    for _, target in commands("Start"):
        planned = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True)
        assert {"quickstart": "atd quickstart", "test": "pytest"}[target] in planned.stdout


def test_the_download_is_announced_before_the_first_command_and_before_pip_starts(tmp_path: Path) -> None:
    assert README.index("about 6 GB") < README.index("make quickstart    #")
    for target in ("quickstart", "test"):
        words = ["make", "-n", target, f"VENV={tmp_path / 'venv'}"]
        planned = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert -1 < planned.index("about 6 GB") < planned.index("pip install")
        assert "--quiet" in planned  # this is no terminal


def test_the_pip_commands_name_extras_that_exist() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    installs = [command for command in commands("Install") if command[:2] == ["pip", "install"]]
    assert len(installs) >= 2
    for command in installs:
        extras = re.search(r"\[(.*)\]", command[-1])
        for extra in extras[1].split(",") if extras else []:
            assert re.search(rf"^{extra} = \[", text, re.MULTILINE), extra


def test_the_first_screen_names_the_backbone_and_the_hardware() -> None:
    screen = README.split("## Start")[0]
    for words in (
        DEFAULT,
        "Hugging Face hub",
        "CPU cores",
        "TensorRT's engine included",
        "GPU or a Jetson",
        "drawn by formulas",
    ):
        assert words in " ".join(screen.split())


def test_links_into_the_repository_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


@dataclass(frozen=True)
class Played:
    """A folder in which the README's commands have run, serve left out.

    printed: command as printed -> its standard output.
    """

    folder: Path
    printed: dict[str, str]


@pytest.fixture(scope="module")
def played(workspace: Workspace, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Run the README's commands after the quickstart; all that takes long is shortened."""
    folder = tmp_path_factory.mktemp("readme")
    assert workspace.held[0] == ["quickstart"]
    shutil.copytree(workspace.folder, folder / "quickstart")
    (folder / "data").mkdir()
    (folder / "data" / "pets").symlink_to(shared_data / "pets")
    pictures = sorted((shared_data / "pets").rglob("*.jpg"))
    (folder / "cat.jpg").write_bytes(pictures[0].read_bytes())
    for label in ("Bengal", "pug"):
        (folder / "my-images" / label).mkdir(parents=True)
        for picture in [path for path in pictures if path.name.startswith(f"{label}_")]:
            shutil.copyfile(picture, folder / "my-images" / label / picture.name)
    weights = shared_data / "weights" / "deit_tiny_patch16_224.fp16.safetensors"
    variables = {**environment(torch=True, place=folder), "ATD_CACHE": str(tmp_path_factory.mktemp("cache"))}
    printed, given = {}, False
    for command in commands("The commands"):
        assert command[0] == "atd"
        words = command[1:]
        if words[0] == "serve":
            continue
        if words[0] == "train":
            words = [*words, "--epochs", "1", "--folds", "1", *([] if given else ["--weights", str(weights)])]
            given = True
        if words[0] in ("bench", "tune"):
            words = [*words, "--time", "2", "--engine", "onnxruntime"]
        done = subprocess.run(
            atd_command(*words), cwd=folder, env=variables, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, (command, done.stderr)
        assert "Traceback" not in done.stderr
        printed[shlex.join(command)] = done.stdout
    return Played(folder, printed)


def test_pets_are_learned_on_the_usual_backbone_after_a_quickstart(played: Played) -> None:
    assert read_config(played.folder / "adapters" / "pets").backbone.name == DEFAULT
    report = json.loads((played.folder / "adapters" / "pets" / "report" / "report.json").read_text())
    assert report["head"]["top1"] > 0.7
    assert report["adapter"]["top1"] > 0.7


def test_every_command_was_played_and_left_what_the_readme_says(played: Played) -> None:
    ran = [command.split()[1] for command in played.printed]
    assert {"train", "export", "predict", "evaluate", "add"} <= set(ran)
    for task in ("pets", "my-images"):
        assert (played.folder / "adapters" / task / "adapter_config.json").is_file()
    manifest = read_manifest(played.folder / "bundle")
    assert [record.task.name for record in manifest.tasks] == ["my-images", "pets"]
    for record in manifest.tasks:
        for form in ("merged", "shared"):
            measured = [entry.precision for entry in manifest.parity_of(record.task.name, form)]
            assert sorted(measured) == [Precision.FP32, Precision.INT8]


def test_photographs_stay_out_of_the_adapter_folder(played: Played) -> None:
    for task in ("pets", "my-images"):
        folder = played.folder / "adapters" / task
        assert not (folder / "samples").exists()
        assert read_config(folder).samples
        assert not [path for path in folder.rglob("*") if path.suffix in (".jpg", ".jpeg")]


def test_the_server_answers_as_the_readme_asks_it(played: Played) -> None:
    (serve,) = (command for command in commands("The commands") if command[1] == "serve")
    (curl,) = commands("Asking a server")
    asked = curl[-1].removeprefix("http://127.0.0.1:8000")
    body = (played.folder / curl[curl.index("--data-binary") + 1].removeprefix("@")).read_bytes()
    (snippet,) = blocks("Asking a server", "python")
    variables = environment(torch=False, place=played.folder.parent / "without-torch")
    with subprocess.Popen(
        atd_command(*serve[1:], "--port", "0"),
        cwd=played.folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"http://\S+", server.stdout.readline())
            assert found is not None
            url = found[0]
            wait_until_ready(url)
            with urllib.request.urlopen(urllib.request.Request(url + asked, body), timeout=60) as answer:
                (image,) = json.load(answer)["images"]
            triton = subprocess.run(
                [sys.executable, "-c", snippet.replace("127.0.0.1:8000", url.removeprefix("http://"))],
                cwd=played.folder,
                env=dict(os.environ),
                capture_output=True,
                text=True,
                timeout=60,
            )
        finally:
            server.terminate()
        assert server.wait(60) == 0
    assert {task: len(top) for task, top in image["tasks"].items()} == {"pets": 3, "my-images": 2}
    assert triton.returncode == 0, triton.stderr
    for entry in image["tasks"]["pets"]:
        assert f":{entry['label']}" in triton.stdout
    printed = next(text for command, text in played.printed.items() if " predict " in command)
    assert image["tasks"]["pets"][0]["label"] in printed
