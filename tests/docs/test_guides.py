"""The guides say what the code says: versions, commands, options, links."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from adaptertune_deploy.cli import main
from adaptertune_deploy.core.extras import EXTRAS
from adaptertune_deploy.doctor import nvidia
from adaptertune_deploy.doctor.checks.jetson import JETPACKS

ROOT = Path(__file__).parents[2]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
UNIT = ROOT / "docs" / "guides" / "atd-serve.service"
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


def table(guide: str) -> list[list[str]]:
    lines = (ROOT / "docs" / "guides" / guide).read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return rows[2:]


def check_options(words: list[str]) -> None:
    """Assert that a command line of atd names a command and options that there are."""
    program: Any = typer.main.get_command(main.app)
    command = program.commands[words[1]]
    known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    assert {word for word in words if word.startswith("-")} <= known, words


def commands(text: str) -> list[list[str]]:
    """Return the command lines of atd in a page's shell blocks."""
    found = []
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            places = [place for place, word in enumerate(words) if re.fullmatch(r"atd|.*/bin/atd", word)]
            if places and words[places[0] + 1 :]:
                found.append(words[places[0] :])
    return found


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_commands_and_links_of_a_guide_exist(guide: Path) -> None:
    text = guide.read_text()
    for words in commands(text):
        check_options(words)
    for target in re.findall(r"\]\(([^)#:]+)", text):
        assert (guide.parent / target).exists(), target
    for extras in re.findall(r"(?:adaptertune-deploy|\.)\[([a-z,]+)\]", text):
        assert set(extras.split(",")) <= set(EXTRAS), extras


@pytest.mark.parametrize("guide", ["gpu-server.md", "jetson.md"])
def test_a_guide_says_at_once_that_nobody_has_run_it(guide: str) -> None:
    text = (ROOT / "docs" / "guides" / guide).read_text()
    assert re.search(r"\*\*Nothing on this page ran on a (GPU|Jetson) yet", text.split("## ")[0])


def test_the_jetpacks_are_those_that_the_doctor_knows() -> None:
    rows = {row[0]: row for row in table("jetson.md")}
    for jetpack in JETPACKS:
        for name in jetpack.name.split(" or "):
            row = next(row for key, row in rows.items() if name in key.split(", "))
            assert str(jetpack.l4t[0]) in row[1]
            assert row[3] == ".".join(map(str, jetpack.python))
            assert row[4] == jetpack.cuda
            assert row[5].startswith(jetpack.tensorrt or "8.")
            assert (row[6] == "yes") is bool(jetpack.tensorrt)


def test_the_drivers_are_those_that_the_doctor_knows() -> None:
    for _, cuda, oldest in table("gpu-server.md"):
        if cuda in ("12", "13"):
            assert oldest == nvidia.dotted(nvidia.OLDEST_DRIVER[int(cuda)])
    text = (ROOT / "docs" / "guides" / "gpu-server.md").read_text()
    assert nvidia.LAST_OF_CUDA_12.replace("gpu<", "gpu[cuda,cudnn]<") in text


def test_the_unit_starts_a_command_that_there_is() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(UNIT.read_text())
    assert set(unit.sections()) == {"Unit", "Service", "Install"}
    service = unit["Service"]
    words = shlex.split(service["ExecStart"])
    assert words[0] == "/opt/atd/venv/bin/atd"
    check_options(["atd", *words[1:]])
    assert service["KillSignal"] == "SIGTERM"
    assert service["Environment"].startswith("ATD_CACHE=/var/lib/atd/")
    assert service["ReadWritePaths"] == "/var/lib/atd"
    assert service["User"] != "root"


def instructions(path: Path) -> list[tuple[str, str]]:
    """Return a Dockerfile's instructions with what follows them."""
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(line.split(None, 1)[0].upper(), line.split(None, 1)[1]) for line in joined]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_serves_as_an_ordinary_user(path: Path) -> None:
    found = instructions(path)
    last = dict(found)
    assert last["USER"] == "10001"
    assert [name for name, _ in found].index("USER") > max(
        place for place, (name, _) in enumerate(found) if name == "RUN"
    )
    entry, arguments = (re.findall(r'"([^"]+)"', last[name]) for name in ("ENTRYPOINT", "CMD"))
    assert (entry, arguments[0]) == (["atd"], "serve")
    check_options([*entry, *arguments])
    assert "/v2/health/ready" in last["HEALTHCHECK"]
    copied = {word for name, rest in found if name == "COPY" and "--from" not in rest for word in rest.split()[:-1]}
    assert all((ROOT / name).exists() for name in copied), copied
    (extras,) = re.findall(r"'\.\[([a-z,]+)\]'", " ".join(rest for name, rest in found if name == "RUN"))
    assert set(extras.split(",")) <= set(EXTRAS)
    assert re.search("Linted, not built", path.read_text())
