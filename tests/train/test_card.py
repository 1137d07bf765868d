"""train.card: the model card states the facts of the artefact, and only those."""

from __future__ import annotations

import dataclasses
import re

import pytest

from adaptertune_deploy.train.card import MOST_LABELS, model_card
from tests.builders import make_backbone_spec, make_config, make_task
from tests.train.runs import make_measured


def test_the_card_states_the_facts_of_the_run() -> None:
    measured = make_measured()
    config = make_config(make_task("trees", rank=4, blocks=(1, 3)), make_backbone_spec(name="vit_x.tag"))
    card = model_card(config, measured, False)
    assert card.startswith("---\nlibrary_name: adaptertune-deploy\nbase_model: timm/vit_x.tag\n")
    text = " ".join(card.split())
    for fact in (
        "# trees",
        "`vit_x.tag`: 3 classes, rank 4, after blocks 1, 3; 39,264 trained parameters, "
        "0.71% of the backbone's 5,524,416",
        "| test split, 40 images | top-1 | top-5 | loss | calibration error |",
        "Labels: trees 0, trees 1, trees 2.",
        "`squares`: 60 training, 20 validation (official), 20 test images; split sha256 `dddddddddddddddd`",
        "Licence: CC0-1.0 (commercial use allowed).",
        "bit for bit, on 8 images",
        "All 150 frozen tensors are unchanged (sha256 `ffffffffffffffff`)",
        "All 12 adapters received a gradient",
        "atd export --adapters trees",
        "Trained with torch 2.10.0.",
    ):
        assert fact in text
    scores = [measured.head_only, measured.adapter]
    rows = re.findall(r"^\| (?:head alone|adapter).*\| (.*) \| (.*) \| (.*) \| (.*) \|$", card, re.MULTILINE)
    assert rows == [(f"{s.top1:.1%}", f"{s.top5:.1%}", f"{s.loss:.3f}", f"{s.calibration_error:.3f}") for s in scores]
    assert rows[0] != rows[1]


@pytest.mark.parametrize(
    ("non_commercial", "terms"),
    [(True, " (non-commercial use only)."), (False, " (commercial use allowed)."), (None, ".")],
)
def test_the_terms_of_the_data_are_stated(non_commercial: bool | None, terms: str) -> None:
    assert f"Licence: CC0-1.0{terms}" in model_card(make_config(), make_measured(), non_commercial)


@pytest.mark.parametrize(("classes", "cut"), [(MOST_LABELS, False), (MOST_LABELS + 1, True)])
def test_a_long_list_of_labels_is_cut(classes: int, cut: bool) -> None:
    card = model_card(make_config(make_task("t", classes=classes)), make_measured(), None)
    assert f"t {MOST_LABELS - 1}" in card
    assert (f"t {MOST_LABELS}" in card) is False
    assert ("Labels: t 0, " in card, ", ...." in card) == (True, cut)


def test_every_library_is_named_with_its_version() -> None:
    config = dataclasses.replace(make_config(), versions={"torch": "2.10.0", "timm": "1.0.20"})
    assert "Trained with torch 2.10.0, timm 1.0.20." in model_card(config, make_measured(), None)
