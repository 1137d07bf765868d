"""core.spec: every value refuses what contradicts itself, and says what it found."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core import spec
from adaptertune_deploy.core.spec import HEAD_ONLY
from adaptertune_deploy.core.storage import records
from tests.builders import make_backbone_spec, make_preprocess_spec, make_task

NAN, INFINITE = float("nan"), float("inf")
ADAPTER = make_task().adapter


@pytest.mark.parametrize(
    ("value", "change", "message"),
    [
        (make_preprocess_spec(), {"size": (0, 32)}, r"size \(0, 32\) must lie between 1 and 4096 pixels a side"),
        (make_preprocess_spec(), {"size": (100_000, 32)}, "must lie between 1 and 4096"),
        (make_preprocess_spec(), {"size": (1 << 40, 1 << 40)}, "must lie between 1 and 4096"),
        (make_preprocess_spec(), {"crop_pct": 1e-6}, "crop_pct 1e-06 resizes every image to 1.0e.15 pixels"),
        (make_preprocess_spec(), {"crop_pct": 0.0}, "crop_pct 0.0 must lie in"),
        (make_preprocess_spec(), {"crop_pct": 1.01}, "crop_pct 1.01 must lie in"),
        (make_preprocess_spec(), {"crop_pct": NAN}, "crop_pct nan must lie in"),
        (make_preprocess_spec(), {"crop_mode": "centre"}, "'centre' must be one of center, squash, border"),
        (make_preprocess_spec(), {"orientation": "upright"}, "'upright' must be one of exif, ignored"),
        (make_preprocess_spec(), {"interpolation": "box"}, "'box' must be one of nearest, bilinear"),
        (make_preprocess_spec(), {"mean": (0.5, NAN, 0.5)}, "mean .* must be finite float32"),
        (make_preprocess_spec(), {"std": (0.5, 0.0, 0.5)}, "std .* must be float32 numbers from 1e-6"),
        (make_preprocess_spec(), {"std": (0.5, 0.5, NAN)}, "std .* must be float32 numbers from 1e-6"),
        (make_preprocess_spec(), {"std": (INFINITE, 0.5, 0.5)}, "std .* must be float32 numbers from 1e-6"),
        (make_preprocess_spec(), {"mean": (0.5, 1e300, 0.5)}, "mean .* must be finite float32"),
        (make_preprocess_spec(), {"mean": (3e38, 0.5, 0.5), "std": (1e-3, 1, 1)}, "overflow float32"),
        (make_backbone_spec(), {"width": 0}, "must lie between 1 and"),
        (make_backbone_spec(), {"depth": -1}, "must lie between 1 and"),
        (make_backbone_spec(), {"features": 1 << 40}, "must lie between 1 and"),
        (make_backbone_spec(), {"image_size": (0, 4)}, "image_size .* must lie between 1 and 4096"),
        (make_backbone_spec(), {"sha256": "B" * 64}, "must be 64 hexadecimal digits"),
        (make_backbone_spec(), {"sha256": "b" * 63}, "must be 64 hexadecimal digits"),
        (make_backbone_spec(), {"sha256": "b" * 64 + "\n"}, "must be 64 hexadecimal digits"),
        (make_backbone_spec(), {"patch_size": -1}, "patch_size -1 must lie between 0 and 4096"),
        (ADAPTER, {"rank": -1}, "rank -1 must lie between 0 and"),
        (ADAPTER, {"rank": 0}, r"rank 0 adapts no block, but blocks names \(0, 1, 2, 3\)"),
        (HEAD_ONLY, {"blocks": (2,)}, r"rank 0 adapts no block, but blocks names \(2,\)"),
        (HEAD_ONLY, {"rank": 8}, "at least one block at rank 8"),
        (ADAPTER, {"alpha": NAN}, "alpha nan must be a finite float32"),
        (ADAPTER, {"alpha": 1e39}, "alpha 1e.39 must be a finite float32"),
        (ADAPTER, {"blocks": ()}, "at least one block"),
        (ADAPTER, {"blocks": (1, 0)}, "ascending"),
        (ADAPTER, {"blocks": (1, 1)}, "ascending"),
        (ADAPTER, {"blocks": (-1, 0)}, "from 0"),
        (ADAPTER, {"init": "normal"}, "init 'normal' must be 'zero'"),
        (ADAPTER, {"activation": "relu"}, "activation 'relu' must be 'gelu'"),
        (make_task(), {"temperature": 0.0}, "temperature 0.0 must be a float32 number from 1e-06"),
        (make_task(), {"temperature": -1.0}, "temperature -1.0 must be"),
        (make_task(), {"temperature": NAN}, "temperature nan must be"),
        (make_task(), {"temperature": INFINITE}, "temperature inf must be"),
        (make_task(), {"temperature": 1e39}, "temperature 1e.39 must be"),
        (make_task(), {"labels": ("cat",)}, "has 1 labels, expected at least 2"),
        (make_task(), {"labels": ("cat", "dog", "cat")}, "repeated labels"),
    ],
)
def test_a_contradiction_is_refused(value: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(value, **change)


@pytest.mark.parametrize("name", ["pets", "a", "7", "a.b_c-d", "model-1.5", "x" * 64])
def test_safe_task_names(name: str) -> None:
    assert make_task(name).name == name


@pytest.mark.case("C8", "task names that could leave their folder", "refused")
@pytest.mark.parametrize(
    "name",
    [
        *("", " ", ".", "..", "../etc", "a/../b", "a/b", "/etc/passwd", "model/", " ..", ".. ", "a..b", "..a", "a.."),
        *("..%2f..%2fetc", "%2e%2e/", "a\\b", "a\0b", "a\r\nb", "a\n", "-rf", ".hidden", "x" * 65, "x" * 10_000),
        *("\u0440\u0435ts", "pets\u200b", "\uff50\uff45ts", "a b", "~", "C:"),
    ],
)
def test_names_that_could_leave_their_folder_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be 1 to 64 letters") as caught:
        spec.check_task_name(name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", ["pets__tensor", "a__tensor"])
def test_a_name_that_a_server_gives_to_the_pixels_of_a_task_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="ends in __tensor, which names the model of a task that takes tensors"):
        spec.check_task_name(name)
    spec.check_task_name(f"{name}s")


@given(st.text(max_size=70))
def test_an_accepted_name_is_one_plain_path_component(name: str) -> None:
    try:
        spec.check_task_name(name)
    except ValueError:
        return
    assert name.isascii()
    assert not set(name) & set("/\\\0 \n%")
    assert name not in (".", "..")


@pytest.mark.parametrize(
    "value", [make_preprocess_spec(), make_backbone_spec(), make_task(), make_task(rank=0, temperature=1.5)]
)
def test_a_spec_survives_json(value: Any) -> None:
    assert records.parse(json.loads(records.dump(value)), type(value), "here") == value


def test_specs_are_values() -> None:
    assert len({make_task(), make_task(), make_preprocess_spec(), make_backbone_spec()}) == 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_task().name = "other"  # type: ignore[misc]


def test_a_manifest_from_before_the_temperature_reads_as_undivided() -> None:
    data = json.loads(records.dump(make_task()))
    del data["temperature"]
    assert records.parse(data, spec.TaskSpec, "here") == make_task(temperature=1.0)


KNOWN = {"pool": "token", "patch_size": 16, "timm": "1.0.20"}


def test_a_backbone_from_before_pooling_was_recorded_is_the_same_one() -> None:
    early, late = make_backbone_spec(), dataclasses.replace(make_backbone_spec(), **KNOWN)
    assert early == late
    assert hash(early) == hash(late)
    assert records.digest(early) == records.digest(late)
    assert early.differing(late) == late.differing(early) == ()
    data = {name: value for name, value in json.loads(records.dump(late)).items() if name not in KNOWN}
    assert records.parse(data, spec.BackboneSpec, "here") == late


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"pool": "avg"}, "pool avg, not token"),
        ({"patch_size": 14}, "patch_size 14, not 16"),
        ({"timm": "1.0.31"}, ""),
        ({"pool": ""}, ""),
        ({"image_size": (224, 448)}, "image_size 224 x 448, not 32 x 32"),
        ({"sha256": "c" * 64, "depth": 2}, "depth 2, not 4; sha256 cccccccccccc..., not bbbbbbbbbbbb..."),
    ],
)
def test_backbones_differ_in_what_both_know(change: dict[str, Any], difference: str) -> None:
    mine = dataclasses.replace(make_backbone_spec(), **KNOWN)
    assert mine.difference(dataclasses.replace(mine, **change)) == difference


def test_a_rank_in_words() -> None:
    assert [make_task(rank=rank).adapter.words for rank in (0, 1, 8)] == ["head only", "rank 1", "rank 8"]
    assert make_task(rank=0).adapter == HEAD_ONLY
