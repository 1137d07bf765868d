"""train.card: the model card states the facts of the run, claims nothing else, and its commands are real ones."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from adaptertune_deploy.core.samples import SampleRecord
from adaptertune_deploy.train.card import MOST_LABELS, model_card
from adaptertune_deploy.train.fit import Epoch, Fit
from adaptertune_deploy.train.recipe import Recipe
from adaptertune_deploy.train.report import Measured
from tests.builders import make_backbone_spec, make_config, make_task
from tests.data.builders import make_dataset
from tests.train.runs import make_measured

SAMPLES = tuple(SampleRecord(f"0000{number}_ash.jpg", f"{number}" * 64, "ash") for number in range(2))


def card(
    measured: Measured | None = None,
    base_model: str | None = None,
    root: str = "adapters",
    classes: int = 3,
    name: str = "trees",
    **dataset: Any,
) -> str:
    config = make_config(make_task(name, classes, rank=4, blocks=(1, 3)), make_backbone_spec(name="vit_x.tag"))
    config = dataclasses.replace(config, samples=SAMPLES, versions={"torch": "2.10.0", "timm": "1.0.20"})
    data = dataclasses.replace(make_dataset([2, 2], test=[1, 1]), **dataset)
    return model_card(config, measured or make_measured(classes), data, base_model, root)


def flat(text: str) -> str:
    return " ".join(text.split())


def test_the_card_states_the_facts_of_the_run() -> None:
    text = flat(card())
    for fact in (
        "# trees",
        "`vit_x.tag` (frozen weights sha256 `bbbbbbbbbbbbbbbb`): 3 classes, rank 4, after blocks 1, 3; 39,264 trained "
        "parameters, 0.71% of the backbone's 5,524,416.",
        "Labels: trees 0, trees 1, trees 2.",
        "`squares`: 60 training, 20 validation (official), 20 test images; split sha256 `dddddddddddddddd`",
        "bit for bit (8 images)",
        "All 150 frozen tensors were unchanged at the end (sha256 `ffffffffffffffff`)",
        "Each of the 12 adapters received a gradient in the first step: all of them took part, which does not say that",
        "Trained with torch 2.10.0, timm 1.0.20.",
    ):
        assert fact in text


@pytest.mark.parametrize("classes", [3, 6])
def test_accuracies_come_with_their_counts(classes: int) -> None:
    measured = make_measured(classes)
    text = card(measured, classes=classes)
    rows = re.findall(r"^\| (?:head alone|adapter and).*?\| (.*) \|$", text, re.MULTILINE)
    for row, scores in zip(rows, (measured.head_only, measured.adapter), strict=True):
        top5 = [f"{scores.top5:.1%}"] if classes > 5 else []  # five answers of five are always right
        right = int(scores.confusion.diagonal().sum())
        expected = [str(right), f"{scores.top1:.1%}", *top5, f"{scores.loss:.3f}", f"{scores.calibration_error:.3f}"]
        assert row.split(" | ") == expected
    assert rows[0] != rows[1]
    assert "| test split, 40 images | right | top-1 |" in text


def test_the_recipe_is_the_one_that_ran() -> None:
    recipe = Recipe(rank=4, alpha=0.5, placement="last:2", epochs=3, batch_size=12, lr=0.002, seed=7, precision="bf16")
    text = card(make_measured(recipe=recipe, augment="digits"))
    for row in (
        "| epochs | 3, epoch 2 kept (by validation accuracy) |",
        "| batch size | 12 |",
        "| peak learning rate | 0.002, head 0.0006; linear warm-up over 10% of the steps, then a cosine |",
        "| optimiser | AdamW, weight decay 0.01 on matrices, gradient norm at most 1 |",
        "| label smoothing | 0 |",
        "| adapters | rank 4, alpha 0.5, placement last:2 |",
        "| augmentation | preset `digits` |",
        "| seed | 7 |",
        "| precision of the steps | bf16 |",
        "| device | x86_64 CPU, 2 threads, 12 seconds in all |",
    ):
        assert f"{row}\n" in text
    blind = Fit((Epoch(0, 0.1, 1.0, float("nan"), float("nan")),), 0, 12)
    assert "| epochs | 1, epoch 1 kept (there are no validation images) |" in card(make_measured(fit=blind))


@pytest.mark.parametrize(
    ("non_commercial", "terms"), [(True, "CC0-1.0; non-commercial use only."), (False, "CC0-1.0."), (None, "CC0-1.0.")]
)
def test_the_publishers_terms_stand_alone(non_commercial: bool | None, terms: str) -> None:
    text = flat(card(non_commercial=non_commercial))
    assert f"Terms of the images: {terms} " in text
    assert "commercial use allowed" not in text


def test_the_metadata_claim_what_is_known_and_nothing_else() -> None:
    head = card().split("---\n")[1].splitlines()
    assert head[:2] == ["library_name: adaptertune-deploy", "pipeline_tag: image-classification"]
    assert head[2] == "tags:"
    known = card(base_model="timm/vit_x.tag", hub_id="someone/trees").split("---\n")[1]
    assert "\nbase_model: timm/vit_x.tag\nbase_model_relation: adapter\n" in known
    assert "\ndatasets:\n- someone/trees\n" in known
    for text in (card(), card(base_model="timm/vit_x.tag")):
        assert "license" not in text.split("---\n")[1]


def test_samples_that_travel_are_in_the_folder() -> None:
    assert "The folder `samples/` holds 2 of the test images, on which `atd export` verifies graphs." in flat(card())


def test_samples_that_do_not_travel_are_named_by_their_hash() -> None:
    text = flat(card(redistributable=False))
    assert "`samples/`" not in text
    assert "they stay on the machine that trained, and their SHA-256 are in `adapter_config.json`." in text
    assert "`atd export --images FOLDER`" in text


@pytest.mark.parametrize(
    ("classes", "said"), [(MOST_LABELS, "Labels: zz 0, "), (MOST_LABELS + 2, "The first 30 of 32 labels: zz 0, ")]
)
def test_a_long_list_of_labels_is_cut_and_said_to_be(classes: int, said: str) -> None:
    text = flat(card(classes=classes, name="zz"))
    assert said in text
    assert f"zz {MOST_LABELS - 1}. " in text
    assert f"zz {MOST_LABELS}" not in text
    assert "..." not in text


@pytest.mark.parametrize(
    ("root", "commands"),
    [
        (
            "adapters",
            [
                "atd add adapters/trees",
                "atd export --adapters trees --out bundle-trees",
                "atd predict IMAGE --adapters trees --bundle bundle-trees",
            ],
        ),
        (
            "my adapters",
            [
                "atd add 'my adapters/trees'",
                "atd export --adapters trees --adapters-dir 'my adapters' --out bundle-trees",
                "atd predict IMAGE --adapters trees --bundle bundle-trees",
            ],
        ),
    ],
)
def test_the_commands_work_as_printed(root: str, commands: list[str]) -> None:
    text = card(root=root)
    assert re.findall(r"^    (atd .*)$", text, re.MULTILINE) == commands
    assert f"In the folder that holds `{root}/`" in text
