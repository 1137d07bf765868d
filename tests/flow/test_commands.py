"""The commands that a person runs after the quickstart, as a person runs them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from adaptertune_deploy.core.bundle.folder import read_manifest
from tests.flow.conftest import Workspace

PICO = "vit_pico_patch8_64.atd_formula"


def samples(workspace: Workspace, task: str) -> list[Path]:
    return sorted((workspace.folder / "adapters" / task / "samples").iterdir())


def test_predict_answers_every_image_for_every_task(workspace: Workspace) -> None:
    images = samples(workspace, "digits")[:3]
    done = workspace.atd("predict", *images, "--json", "--top-k", "2")
    answers = json.loads(done.stdout)
    assert [(answer["file"], answer["task"]) for answer in answers] == [
        (str(image), task) for image in images for task in ("digits", "shapes")
    ]
    for answer in answers:
        first, second = answer["top"]
        assert 1 >= first["probability"] >= second["probability"] >= 0


def test_predict_prints_a_table_that_names_the_answer(workspace: Workspace) -> None:
    image = samples(workspace, "digits")[0]
    best = json.loads(workspace.atd("predict", image, "--adapters", "digits", "--json").stdout)[0]["top"][0]
    printed = workspace.atd("predict", image, "--adapters", "digits").stdout
    assert re.search(rf"{image.name}\s+digits\s+{best['label']}\s+{100 * best['probability']:.1f} %", printed)


def test_evaluate_gives_the_accuracy_that_training_stored(workspace: Workspace) -> None:
    row = workspace.facts["tasks"][0]
    facts = json.loads(workspace.atd("evaluate", "--adapter", "digits", "--json").stdout)
    assert facts["split"] == "test"
    assert facts["candidate"] == facts["ships"] == row["ships"]
    assert facts["right"] == row[row["ships"]]["right"]


def test_serve_answers_and_ends_with_exit_code_0_on_sigterm(workspace: Workspace) -> None:
    command = [sys.executable, "-m", "adaptertune_deploy", "serve", "--adapters", "digits,shapes", "--port", "0"]
    environment = {**os.environ, "COLUMNS": "160"}
    with subprocess.Popen(
        command, cwd=workspace.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found is not None, line
        image = samples(workspace, "shapes")[0]
        request = urllib.request.Request(f"{found[0]}/v1/predict?tasks=shapes&top_k=1", image.read_bytes())
        with urllib.request.urlopen(request, timeout=60) as answer:
            document = json.load(answer)
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    direct = json.loads(workspace.atd("predict", image, "--adapters", "shapes", "--json").stdout)[0]["top"][0]
    served = document["images"][0]["tasks"]["shapes"][0]
    assert served["label"] == direct["label"]
    assert abs(served["probability"] - direct["probability"]) < 1e-5


def test_export_of_one_task_and_add_of_another_give_the_same_bundle(workspace: Workspace) -> None:
    workspace.atd("export", "--adapters", "digits", "--out", "grown")
    workspace.atd("add", "adapters/shapes", "--bundle", "grown")
    image = samples(workspace, "shapes")[0]
    grown, whole = (
        json.loads(workspace.atd("predict", image, "--bundle", bundle, "--json").stdout)
        for bundle in ("grown", "bundle")
    )
    assert grown == whole
    manifest = read_manifest(workspace.folder / "grown")
    assert manifest.tasks[1].task.name == "shapes"
    (parity,) = manifest.parity_of("shapes")
    assert parity.images == 32
    assert parity.max_abs < 1e-5


def test_merged_only_bundle_serves_too(workspace: Workspace) -> None:
    workspace.atd("export", "--merge", "--no-shared", "--adapters", "digits", "--out", "merged-only")
    image = samples(workspace, "digits")[0]
    merged, shared = (
        json.loads(workspace.atd("predict", image, "--bundle", bundle, "--adapters", "digits", "--json").stdout)[0][
            "top"
        ]
        for bundle in ("merged-only", "bundle")
    )
    assert [entry["label"] for entry in merged] == [entry["label"] for entry in shared]
    refused = workspace.atd("add", "adapters/shapes", "--bundle", "merged-only", check=False)
    assert refused.returncode == 1
    assert "holds merged graphs only" in refused.stderr


def test_a_mistake_is_one_line_and_an_exit_code(workspace: Workspace) -> None:
    image = samples(workspace, "digits")[0]
    cases = {
        ("predict", "nothing.jpg"): (2, "nothing.jpg: can't be read"),
        ("predict", str(image), "--adapters", "digit"): (2, "Did you mean 'digits'?"),
        ("predict", str(image), "--bundle", "nowhere"): (1, "nowhere: holds no manifest.json"),
        ("predict", str(image), "--device", "gpu"): (2, "device 'gpu'"),
        ("train", "--dataset", "digit"): (2, "Did you mean 'digits'?"),
        ("train", "--dataset", "digits", "--rank", "-1"): (2, "--rank -1"),
        ("train", "--dataset", "digits", "--backbone", PICO, "--placement", "last:99"): (2, "--placement last:99"),
        ("evaluate", "--adapter", "pets"): (1, "no such adapter folder"),
        ("export", "--adapters", "pets"): (2, "holds no adapter 'pets'"),
        ("add", "adapters/pets"): (1, "no such adapter folder"),
        ("serve", "--host", "256.0.0.1"): (2, "can't listen on"),
    }
    for arguments, (code, text) in cases.items():
        done = workspace.atd(*arguments, check=False)
        assert done.returncode == code, (arguments, done.stderr)
        assert text in done.stderr, (arguments, done.stderr)
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        told = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
        assert len(told) == 1, done.stderr
        assert told[0].startswith("error: ")
