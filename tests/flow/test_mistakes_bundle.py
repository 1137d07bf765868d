"""Bundles that don't fit together: one line, no traceback, no hang, no answer."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from adaptertune_deploy.core.storage import files
from adaptertune_deploy.serve.offline.classify import classify
from adaptertune_deploy.serve.sessions.session import open_session
from tests.flow import surgery
from tests.flow.playing import Mistake
from tests.flow.surgery import edited, in_manifest, record_of

PREDICT = "predict images/0.png"
MERGED = "predict images/0.png images/1.png --adapters birds --form merged"


def _labels(count: int) -> list[str]:
    return [f"label {index}" for index in range(count)]


def _with_labels(count: int) -> Any:
    """Say another number of labels in the manifest and in the graph itself, so that both agree."""

    def prepare(folder: Path) -> None:
        task = surgery.facts_of(folder, "birds")["task"] | {"labels": _labels(count)}
        edited("birds", surgery.say(task=task))(folder)
        in_manifest(lambda document: record_of(document, "birds").update(task=task))(folder)

    return prepare


def _with_size(size: int) -> Any:
    """Say another image size in the manifest and in every graph."""

    def prepare(folder: Path) -> None:
        preprocess = surgery.facts_of(folder, None)["preprocess"] | {"size": [size, size]}
        for task in (None, "birds", "cars"):
            edited(task, surgery.say(preprocess=preprocess))(folder)
        in_manifest(lambda document: document.update(preprocess=preprocess))(folder)

    return prepare


def _other_backbone(folder: Path) -> None:
    backbone = surgery.facts_of(folder, "birds")["backbone"] | {"sha256": "1" * 64}
    edited("birds", surgery.say(backbone=backbone))(folder)


def _other_mean(folder: Path) -> None:
    preprocess = surgery.facts_of(folder, "birds")["preprocess"] | {"mean": [0.5, 0.5, 0.5]}
    edited("birds", surgery.say(preprocess=preprocess))(folder)


def _merged_as_shared(folder: Path) -> None:
    surgery.put_graph(folder, None, surgery.graph_of(folder, "birds"))


def _no_shared_graph(folder: Path) -> None:
    shared = surgery.graph_record(surgery.manifest(folder), None)
    (folder / "bundle" / shared["file"]).unlink()
    in_manifest(lambda document: document["graphs"].remove(shared))(folder)


def _fifo(name: str) -> Any:
    """Put a pipe in place of the file that `name` stands for: manifest, shared, birds."""

    def prepare(folder: Path) -> None:
        document = surgery.manifest(folder)
        path = {
            "manifest": "manifest.json",
            "shared": surgery.graph_record(document, None)["file"],
            "merged": surgery.graph_record(document, "birds")["file"],
            "tensors": record_of(document, "birds")["file"],
        }[name]
        (folder / "bundle" / path).unlink()
        os.mkfifo(folder / "bundle" / path)

    return prepare


def _damaged(folder: Path) -> None:
    path = folder / "bundle" / surgery.graph_record(surgery.manifest(folder), None)["file"]
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")


def _twice(folder: Path) -> None:
    in_manifest(lambda document: document["graphs"].append(document["graphs"][0]))(folder)


MISTAKES = {
    "merged graphs swapped": Mistake(MERGED, ("merged/birds-", "task"), 1, surgery.swap_merged),
    "the other task's logits": Mistake(f"{MERGED} --top-k 1", ("merged/birds-",), 1, surgery.swap_merged),
    "logits cut to 2 of 3": Mistake(
        MERGED, ("merged/birds-", "logits", "2", "3"), 1, edited("birds", surgery.cut(1, 2))
    ),
    "rows cut to one": Mistake(MERGED, ("merged/birds-", "logits"), 1, edited("birds", surgery.cut(0, 1))),
    "rows cut to one in secret": Mistake(MERGED, ("logits",), 1, edited("birds", surgery.cut_rows_secretly)),
    "output of another name": Mistake(MERGED, ("merged/birds-", "scores"), 1, edited("birds", surgery.rename_output)),
    "shared output of another name": Mistake(
        f"{PREDICT} --form shared", ("backbone-", "scores"), 1, edited(None, surgery.rename_output)
    ),
    "no metadata": Mistake(MERGED, ("merged/birds-", "says nothing"), 1, edited("birds", surgery.say_nothing)),
    "no metadata in the shared graph": Mistake(
        PREDICT, ("backbone-", "says nothing"), 1, edited(None, surgery.say_nothing)
    ),
    "a graph of another backbone": Mistake(MERGED, ("merged/birds-", "backbone"), 1, _other_backbone),
    "a graph with another mean": Mistake(MERGED, ("merged/birds-", "mean"), 1, _other_mean),
    "a merged graph as the shared one": Mistake(PREDICT, ("backbone-",), 1, _merged_as_shared),
    "fewer labels than logits": Mistake(MERGED, ("merged/birds-",), 1, _with_labels(2)),
    "30 labels for 3 logits": Mistake(MERGED, ("merged/birds-",), 1, _with_labels(30)),
    "30 labels in the manifest": Mistake(
        PREDICT,
        ("birds", "labels"),
        1,
        in_manifest(lambda document: record_of(document, "birds")["task"].update(labels=_labels(30))),
    ),
    "labels edited in the manifest": Mistake(
        PREDICT,
        ("manifest.json", "labels", "birds"),
        1,
        in_manifest(lambda document: record_of(document, "birds")["task"]["labels"].__setitem__(0, "foo")),
    ),
    "labels reversed in the manifest": Mistake(
        PREDICT,
        ("manifest.json", "labels"),
        1,
        in_manifest(lambda document: record_of(document, "birds")["task"]["labels"].reverse()),
    ),
    "labels reversed, merged": Mistake(
        MERGED,
        ("merged/birds-", "label"),
        1,
        in_manifest(lambda document: record_of(document, "birds")["task"]["labels"].reverse()),
    ),
    "alpha edited in the manifest": Mistake(
        PREDICT,
        ("manifest.json", "alpha"),
        1,
        in_manifest(lambda document: record_of(document, "birds")["task"]["adapter"].update(alpha=50.0)),
    ),
    "mean edited in the manifest": Mistake(
        PREDICT,
        ("backbone-", "preprocess.mean", "the manifest says"),
        1,
        in_manifest(lambda document: document["preprocess"].update(mean=[0.5, 0.5, 0.5])),
    ),
    "backbone hash edited": Mistake(
        PREDICT, ("backbone",), 1, in_manifest(lambda document: document["backbone"].update(sha256="1" * 64))
    ),
    "image size edited": Mistake(
        PREDICT,
        ("backbone-", "image_size", "the manifest says"),
        1,
        in_manifest(lambda document: document["backbone"].update(image_size=[64, 64])),
    ),
    "preprocess.size 100000": Mistake(MERGED, ("size",), 1, _with_size(100_000)),
    "preprocess.size 2^40": Mistake(MERGED, ("size",), 1, _with_size(1 << 40)),
    "preprocess.size 100000, shared": Mistake(PREDICT, ("size",), 1, _with_size(100_000)),
    "crop_pct so small that no image passes": Mistake(
        PREDICT,
        ("crop_pct",),
        1,
        in_manifest(lambda document: document["preprocess"].update(crop_pct=1e-6)),
        never=("elongated",),
    ),
    "mean 1e300": Mistake(
        PREDICT, ("mean",), 1, in_manifest(lambda document: document["preprocess"].update(mean=[1e300, 0.5, 0.5]))
    ),
    "a number of 400 digits": Mistake(
        PREDICT,
        ("manifest.json",),
        1,
        in_manifest(lambda document: document["backbone"].update(width=10**399)),
        ("0" * 100,),
    ),
    "Loop of 2^62": Mistake(MERGED, ("merged/birds-", "Loop"), 1, edited("birds", surgery.add_loop)),
    "Loop of 2^62 served": Mistake(
        "serve --port 0 --form merged", ("merged/birds-", "Loop"), 1, edited("birds", surgery.add_loop)
    ),
    "com.microsoft operator": Mistake(
        MERGED, ("merged/birds-", "QuickGelu"), 1, edited("birds", surgery.add_foreign_operator)
    ),
    "a constant of 2^40 numbers": Mistake(
        MERGED, ("merged/birds-", "ConstantOfShape"), 1, edited("birds", surgery.add_huge_constant)
    ),
    "shared graph damaged": Mistake(PREDICT, ("backbone-", "sha256", "atd export"), 1, _damaged),
    "a graph cut off": Mistake(
        PREDICT,
        ("backbone-", "bytes", "atd export"),
        1,
        in_manifest(lambda document: surgery.graph_record(document, None).update(bytes=1 << 20)),
    ),
    "a graph in the manifest twice": Mistake(PREDICT, ("manifest.json", "twice"), 1, _twice),
    "a graph of an unknown precision": Mistake(
        PREDICT,
        ("manifest.json", "fp8", "fp32, fp16, bf16, int8"),
        1,
        in_manifest(lambda document: surgery.graph_record(document, None).update(precision="fp8")),
    ),
    "an input of another type": Mistake(
        PREDICT,
        ("backbone-", "images", "float16"),
        1,
        in_manifest(lambda document: surgery.graph_record(document, None)["inputs"].update(images="float16")),
    ),
    "a bundle of version 1": Mistake(
        PREDICT,
        ("manifest.json", "format_version is 1", "atd upgrade bundle"),
        1,
        in_manifest(lambda document: document.update(format_version=1)),
    ),
    "a pipe as the manifest": Mistake(PREDICT, ("manifest.json", "pipe"), 1, _fifo("manifest")),
    "a pipe as the shared graph": Mistake(PREDICT, ("backbone-", "pipe"), 1, _fifo("shared")),
    "a pipe as a merged graph": Mistake(MERGED, ("merged/birds-", "pipe"), 1, _fifo("merged")),
    "a pipe as a tensor file": Mistake(PREDICT, ("adapters/birds-", "pipe"), 1, _fifo("tensors")),
    "labels do not fit, served": Mistake("serve --port 0 --form merged", ("merged/birds-",), 1, _with_labels(2)),
    "output renamed, served": Mistake("serve --port 0", ("backbone-",), 1, edited(None, surgery.rename_output)),
    "a task file called manifest.json": Mistake(
        "add adapters/birds",
        ("manifest.json", "file"),
        1,
        in_manifest(lambda document: document["tasks"][0].update(file="manifest.json")),
    ),
    "a bundle without manifest": Mistake(
        PREDICT, ("manifest.json", "atd export"), 1, lambda folder: (folder / "bundle" / "manifest.json").unlink()
    ),
    "a manifest that is no JSON": Mistake(
        PREDICT,
        ("manifest.json", "atd export"),
        1,
        lambda folder: (folder / "bundle" / "manifest.json").write_text("{") and None,
    ),
    "a task whose tensor file is gone": Mistake(
        PREDICT,
        ("adapters/birds-", "no such file", "atd export"),
        1,
        lambda folder: next((folder / "bundle" / "adapters").glob("birds-*")).unlink(),
    ),
    "a folder that is no bundle": Mistake(
        f"{PREDICT} --bundle images", ("images", "manifest.json"), 1, lambda folder: None
    ),
    "an added task without a shared graph": Mistake(
        "add adapters/trees",
        ("shared", "atd export"),
        1,
        _no_shared_graph,
        never=("--form",),
    ),
}


@pytest.mark.case("E7", "some fifty edits of bundles, hashes made to fit", "one line, exit code 1, the disk as it was")
@pytest.mark.parametrize("name", MISTAKES)
def test_it_is_refused(name: str, outcomes: dict[str, Future[None]]) -> None:
    outcomes[name].result()


def test_a_graph_replaced_after_it_was_hashed_is_not_run(golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = (golden / "images" / "0.png").read_bytes()
    session = open_session(golden / "bundle", ["birds"], "merged")
    expected = classify(session, [image], None, 3)
    session.close()
    path = golden / "bundle" / surgery.graph_record(surgery.manifest(golden), "birds")["file"]
    other = golden / "bundle" / surgery.graph_record(surgery.manifest(golden), "cars")["file"]
    hashed = files.sha256_bytes

    def hash_then_replace(data: bytes) -> str:
        digest = hashed(data)
        shutil.copyfile(other, path)
        return digest

    monkeypatch.setattr(files, "sha256_bytes", hash_then_replace)
    session = open_session(golden / "bundle", ["birds"], "merged")
    found = classify(session, [image], None, 3)
    session.close()
    assert path.read_bytes() == other.read_bytes()
    assert found == expected
