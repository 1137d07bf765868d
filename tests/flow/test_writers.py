"""Several who write one bundle, and who are killed while they do: no task is lost and nothing foreign is touched."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adaptertune_deploy.core.adapter.folder import read_config
from adaptertune_deploy.core.bundle.folder import read_manifest, read_task
from tests.builders import make_task, write_adapter
from tests.flow.playing import GOLDEN, atd_command, environment, run, tree
from tests.flow.waiting import wait_until_ready


def write_tasks(folder: Path, count: int) -> list[str]:
    """Write adapters t00, t01, ... of the golden backbone and return their names."""
    golden = read_config(GOLDEN / "adapters" / "birds")
    names = [f"t{number:02d}" for number in range(count)]
    for seed, name in enumerate(names):
        task = make_task(name, classes=2 + seed % 3, blocks=(0, 1, 2))
        write_adapter(folder / "adapters" / name, task, golden.backbone, golden.preprocess, seed)
    return names


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        atd_command(*arguments),
        cwd=folder,
        env=environment(torch=False, place=folder.parent / "without-torch"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def server(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Yield a running `atd serve` and its address."""
    process = start(folder, "serve", "--port", "0", *arguments)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found is not None, (line, process.stderr and process.poll())
        yield process, found[0]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("count", [6, 12])
def test_parallel_adds_keep_every_task(count: int, golden: Path) -> None:
    names = write_tasks(golden, count)
    writers = [start(golden, "add", f"adapters/{name}") for name in names]
    for writer in writers:
        _, told = writer.communicate(timeout=120)
        assert writer.returncode == 0, told
        assert "Traceback" not in told
    held = read_manifest(golden / "bundle")
    assert {record.task.name for record in held.tasks} == {"birds", "cars", *names}
    assert [read_task(golden / "bundle", held, record).task.name for record in held.tasks]
    found = {str(path.relative_to(golden / "bundle")) for path in (golden / "bundle").rglob("*") if path.is_file()}
    assert found == {"manifest.json", *held.files}


def test_what_a_killed_writer_left_is_removed_and_named_and_foreign_files_stay(golden: Path) -> None:
    bundle = golden / "bundle"
    expected = {"notes.txt", "plans/sm86.plan", *tree(bundle)}
    left = ("adapters/lost-0123abcd.safetensors", "merged/lost-0123abcd.onnx", ".manifest.json.new.abcd1234", ".lock")
    for name in left:
        (bundle / name).write_bytes(b"left behind")
    (bundle / "plans").mkdir()
    for name in ("notes.txt", "plans/sm86.plan"):
        (bundle / name).write_bytes(b"not the bundle's")
    done = run(golden, "add", "adapters/trees")
    assert done.returncode == 0, done.stderr
    assert "left behind" in done.stderr
    assert "killed" in done.stderr
    added = {record.file for record in read_manifest(bundle).tasks if record.task.name == "trees"}
    assert set(tree(bundle)) == expected | {"plans"} | added


def test_a_killed_add_leaves_a_bundle_that_the_next_one_finishes(golden: Path) -> None:
    write_tasks(golden, 1)
    holder = start(golden, "add", "adapters/t00")
    holder.send_signal(signal.SIGKILL)
    holder.communicate(timeout=60)
    read_manifest(golden / "bundle")
    done = run(golden, "add", "adapters/t00")
    assert done.returncode == 0, done.stderr
    held = read_manifest(golden / "bundle")
    assert [record.task.name for record in held.tasks] == ["birds", "cars", "t00"]
    assert {name for name, what in tree(golden / "bundle").items() if what != "folder"} == {
        "manifest.json",
        *held.files,
    }


def test_adding_a_task_again_says_what_it_replaces(golden: Path) -> None:
    golden_config = read_config(golden / "adapters" / "birds")
    write_adapter(
        golden / "adapters" / "birds", golden_config.task, golden_config.backbone, golden_config.preprocess, 9
    )
    done = run(golden, "add", "adapters/birds")
    assert done.returncode == 0, done.stderr
    assert "replaced" in done.stderr
    assert "merged" in done.stderr


def test_a_running_server_keeps_its_tasks_and_add_says_so(golden: Path) -> None:
    with server(golden) as (process, url):
        done = run(golden, "add", "adapters/trees")
        assert done.returncode == 0, done.stderr
        assert "restart" in done.stdout + done.stderr
        image = (golden / "images" / "0.png").read_bytes()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(urllib.request.Request(f"{url}/v1/predict?tasks=trees", image), timeout=30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    with server(golden) as (process, url):
        wait_until_ready(url)
        request = urllib.request.Request(f"{url}/v1/predict?tasks=trees&top_k=1", image)
        with urllib.request.urlopen(request, timeout=30) as answer:
            document = json.load(answer)
        assert document["images"][0]["tasks"]["trees"][0]["label"].startswith("trees ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_told_to_stop_answers_what_it_accepted(number: signal.Signals, golden: Path) -> None:
    before = tree(golden)
    with server(golden) as (process, _):
        process.send_signal(number)
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert "stopped" in process.stderr.read()
    assert tree(golden) == before


def test_the_next_commands_of_add_work_as_printed(golden: Path) -> None:
    place = "mein Ordner ä/日本/bündel"
    (golden / place).parent.mkdir(parents=True)
    os.rename(golden / "bundle", golden / place)
    done = run(golden, "add", "adapters/trees", "--bundle", place)
    assert done.returncode == 0, done.stderr
    commands = [shlex.split(line.removeprefix("next:")) for line in next_lines(done.stdout)]
    (serve,) = (words for words in commands if words[:2] == ["atd", "serve"])
    with server(golden, *serve[2:]) as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    tasks = serve[serve.index("--adapters") + 1]
    assert tasks == "birds,cars,trees"


def next_lines(printed: str) -> list[str]:
    """Return the commands that a command says could come next."""
    lines = printed.splitlines()
    (first,) = (place for place, line in enumerate(lines) if line.startswith("next:"))
    return lines[first:]
