"""api: each function does what its command does, with paths as text or Path; tests/flow plays them all on torch."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import adaptertune_deploy as atd
from adaptertune_deploy import api
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import Manifest
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.options import ON_CPU

GOLDEN = Path(__file__).parent / "device" / "golden"


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "golden"))


def test_every_name_leads_to_what_it_names() -> None:
    assert set(atd.__all__) <= set(dir(atd))
    for name in ("add_task", "export_bundle", "load_task", "open_bundle", "train_task"):
        assert getattr(atd, name) is getattr(api, name)
    assert (atd.Precision.FP32, atd.Recipe().rank, atd.EngineOptions().device) == ("fp32", 8, "auto")
    assert issubclass(atd.AtdError, Exception)
    with pytest.raises(AttributeError, match="module 'adaptertune_deploy' has no attribute 'tran_task'"):
        atd.tran_task  # noqa: B018


@pytest.mark.parametrize("kind", [str, Path])
def test_a_bundle_answers_and_takes_a_task(golden: Path, kind: type) -> None:
    place = kind(golden / "bundle")
    with atd.open_bundle(place, engine=ON_CPU) as opened:
        before = [task.name for task in opened.tasks]
        answers = opened.predict(sorted((golden / "images").iterdir()), "birds", top_k=1)
        assert [answer.image for answer in answers] == [0, 1, 2, 3]
    assert "trees" not in before
    added = atd.add_task(kind(golden / "adapters" / "trees"), place)
    assert (added.record.task.name, added.parity) == ("trees", ())
    assert "torch's answers" in added.not_verified
    with atd.open_bundle(place, "trees", engine=ON_CPU) as opened:
        assert [task.name for task in opened.tasks] == ["trees"]
    with atd.open_bundle(place, ["birds"], form="merged", engine=ON_CPU) as opened:
        assert opened.form == "merged"


def test_a_task_is_merged_where_it_is_asked_for(golden: Path) -> None:
    record = atd.add_task(golden / "adapters" / "trees", golden / "bundle", merge=True, engine=None)
    assert record.not_verified == "no engine was asked for"
    assert [graph.form for graph in bundle.read_manifest(golden / "bundle").graphs if graph.task == "trees"] == [
        "merged"
    ]


def test_a_task_is_read_as_text_or_path(golden: Path) -> None:
    for kind in (str, Path):
        config, task = atd.load_task(kind(golden / "adapters" / "cars"), ship="adapter")
        assert (config.task.name, task.task.name) == ("cars", "cars")


def test_training_gets_the_request_of_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from adaptertune_deploy.train import trainer
    from adaptertune_deploy.train.request import preflight

    asked: list[Any] = []
    told: list[str] = []
    monkeypatch.setattr(preflight, "check_train", lambda request: ("read this",))
    monkeypatch.setattr(trainer, "train_task", lambda *given: asked.append(given[0]) or "made")
    recipe = atd.Recipe(rank=2)
    made: Any = atd.train_task(tmp_path / "mine", out=str(tmp_path), recipe=recipe, image_size=64, tell=told.append)
    (request,) = asked
    assert (made, told) == ("made", ["read this"])
    assert (request.dataset, request.out, request.image_size) == (str(tmp_path / "mine"), tmp_path, (64, 64))
    assert (request.recipe, request.weights, request.data_dir) == (recipe, None, None)
    atd.train_task("pets", image_size=(32, 64), weights="w.safetensors", data_dir="d")
    assert (asked[1].image_size, asked[1].weights, asked[1].data_dir) == ((32, 64), Path("w.safetensors"), Path("d"))
    assert asked[1].recipe == atd.Recipe()


def test_an_export_gets_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from adaptertune_deploy.export import exporter, plan

    asked: list[tuple[Sequence[Path], Path, Any]] = []
    monkeypatch.setattr(plan, "plan_export", lambda folders, out, **given: (folders, out, given))
    monkeypatch.setattr(
        exporter, "export_bundle", lambda planned, **later: asked.append((*planned[:2], {**planned[2], **later}))
    )
    made: Manifest | None = atd.export_bundle("adapters/pets", images="photos")
    assert made is None
    atd.export_bundle([Path("a"), "b"], tmp_path, merge=True, weights="w")
    assert [(folders, out) for folders, out, _ in asked] == [
        ([Path("adapters/pets")], Path("bundle")),
        ([Path("a"), Path("b")], tmp_path),
    ]
    assert (asked[0][2]["images"], asked[1][2]["weights"], asked[1][2]["merge"]) == (Path("photos"), Path("w"), True)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("int8", (Precision.INT8,)),
        (Precision.FP16, (Precision.FP16,)),
        (["fp32", Precision.INT8_QDQ], (Precision.FP32, Precision.INT8_QDQ)),
    ],
)
def test_precisions_may_be_one_or_several_and_names(
    monkeypatch: pytest.MonkeyPatch, given: Any, meant: tuple[Precision, ...]
) -> None:
    from adaptertune_deploy.export import exporter, plan

    asked: list[Any] = []
    monkeypatch.setattr(plan, "plan_export", lambda folders, out, **given: asked.extend(given["precisions"]))
    monkeypatch.setattr(exporter, "export_bundle", lambda planned, **later: None)
    atd.export_bundle("a", precisions=given)
    assert tuple(asked) == meant
    assert all(isinstance(precision, Precision) for precision in asked)


def test_an_unknown_precision_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^no precision 'int4', only fp32"):
        atd.export_bundle(tmp_path / "absent", precisions=["fp32", "int4"])
