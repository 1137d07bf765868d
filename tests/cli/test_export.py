from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adaptertune_deploy.core.adapter.folder import read_config, write_config
from adaptertune_deploy.core.adapter.samples import keep
from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.core.bundle.manifest import Manifest
from adaptertune_deploy.export import exporter
from adaptertune_deploy.export.plan import Plan
from tests.builders import make_task, with_parity, write_adapter
from tests.cli.conftest import Atd
from tests.cli.started import imported_by


@pytest.fixture(autouse=True)
def _samples(folder: Path) -> None:
    """Give every golden adapter one held-back image."""
    for place in sorted((folder / "adapters").iterdir()):
        kept = keep(place, [((folder / "images" / "0.png").read_bytes(), ".png", "a label")], travel=True)
        write_config(place, replace(read_config(place), samples=kept))


MISTAKES = [
    (["--adapters", "bird"], 2, "only birds, cars, trees. Did you mean 'birds'?"),
    (["--adapters", ","], 2, "--adapters names no task"),
    (["--adapters-dir", "empty"], 2, "empty: holds no adapters; train one first: atd train --dataset pets"),
    (["--engine", "trt"], 2, "trt"),
    (["--ship", "heda"], 2, "--ship: no candidate 'heda', only auto, adapter, head, full. Did you mean 'head'?"),
    (["--out", "images"], 1, "images"),
    (["--adapters", "trees"], 2, "--replace"),
    (["--no-shared", "--out", "new"], 2, "--merge"),
    (["--target", "tritn"], 2, "--target: no target 'tritn', only triton. Did you mean 'triton'?"),
    (["--target", "triton", "--target-dir", "images"], 2, "images: holds something else (0.png), which would be lost"),
]


@pytest.mark.parametrize(("arguments", "code", "text"), MISTAKES)
def test_mistakes(atd: Atd, arguments: list[str], code: int, text: str) -> None:
    done = atd("export", *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert text in done.err


def test_they_are_found_before_torch_is_imported(folder: Path) -> None:
    for arguments, _, _ in MISTAKES:
        assert "torch" not in imported_by("export", *arguments)


class Stub:
    """Stands for the exporter and keeps what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plans: list[Plan] = []
        monkeypatch.setattr(exporter, "export_bundle", self)

    def __call__(self, plan: Plan, **options: Any) -> Manifest:
        self.plans.append(plan)
        options["tell"]("a note")
        if not plan.out.exists():
            shutil.copytree("bundle", plan.out)
        return with_parity(read_manifest(plan.out))


@pytest.mark.parametrize("place", ["o ü 1", "mein Ordner ä/日本/bündel"])
def test_the_next_commands_work_as_printed(atd: Atd, folder: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    Stub(monkeypatch)
    shutil.move("adapters", "trained here")
    done = atd("export", "--adapters", "birds,cars", "--adapters-dir", "trained here", "--out", place)
    assert (done.code, done.err) == (0, "note: a note\n")
    serve, predict = (shlex.split(line.removeprefix("next:")) for line in done.out.splitlines()[-2:])
    assert serve == ["atd", "serve", "--adapters", "birds,cars", "--bundle", place]
    answers = atd(*predict[1:], "--json")
    assert answers.code == 0, answers.err
    assert len(json.loads(answers.out)) == 2


def test_a_target_is_written_of_what_was_exported(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    Stub(monkeypatch)
    export = ("export", "--adapters", "birds,cars", "--merge", "--target", "triton")
    done = atd(*export)
    assert done.code == 0, done.err
    wrote = [line for line in done.out.splitlines() if line.startswith("wrote ")]
    assert [line.split(":")[0] for line in wrote] == ["wrote triton/shared/", "wrote triton/merged/"]
    assert Path("triton/shared/adaptertune/1/bundle/manifest.json").is_file()
    done = atd(*export, "--target-dir", "elsewhere/t", "--json")
    assert Path("elsewhere/t/merged/birds/1/model.onnx").is_file()
    assert json.loads(done.out)["tasks"]


def test_replace_and_json_are_handed_on(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    stub = Stub(monkeypatch)
    done = atd("export", "--adapters", "trees", "--replace", "--json")
    assert done.code == 0, done.err
    assert stub.plans[0].replace is True
    assert [source.folder for source in stub.plans[0].sources] == [Path("adapters/trees")]
    assert [task["task"]["name"] for task in json.loads(done.out)["tasks"]] == ["birds", "cars"]


@pytest.mark.parametrize(
    ("arguments", "ship"), [([], None), (["--ship", "auto"], None), (["--ship", "adapter"], "adapter")]
)
def test_the_candidate_is_handed_on(
    atd: Atd, monkeypatch: pytest.MonkeyPatch, arguments: list[str], ship: str | None
) -> None:
    stub = Stub(monkeypatch)
    assert atd("export", "--adapters", "birds,cars", "--merge", *arguments).code == 0
    assert {source.ship for source in stub.plans[0].sources} == {ship}


def test_the_adapter_of_a_task_of_rank_0_is_one_line(atd: Atd, folder: Path) -> None:
    shown = read_manifest(folder / "bundle")
    write_adapter(folder / "adapters" / "fish", make_task("fish", rank=0), shown.backbone, shown.preprocess)
    done = atd("export", "--adapters", "fish", "--ship", "adapter", "--out", "new")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: task 'fish' was trained with rank 0 and has no adapter to ship; leave out --ship adapter, or train it "
        "again with --rank 8\n"
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize(
    ("out", "kept"), [("bundle", "nothing was written, bundle/ is as it was"), ("new", "nothing was written")]
)
def test_an_interrupt_says_what_was_kept(
    atd: Atd, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int, out: str, kept: str
) -> None:
    monkeypatch.setattr(exporter, "export_bundle", lambda *_, **__: os.kill(os.getpid(), number))
    done = atd("export", "--merge", "--out", out)
    assert (done.code, done.out, done.err) == (code, "", f"stopped; {kept}\n")
