"""train.outcome.card: the card says first what ships and why, states what ran, and its commands are real ones."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import pytest

from adaptertune_deploy.core.adapter.identity import ProbeRecord
from adaptertune_deploy.core.adapter.nested import WidthRecord
from adaptertune_deploy.core.adapter.samples import SampleRecord
from adaptertune_deploy.core.adapter.training_record import RecipeRecord
from adaptertune_deploy.data.duplicates import Told
from adaptertune_deploy.train.outcome.card import MOST_LABELS, model_card
from adaptertune_deploy.train.outcome.measured import ADAPTER, Measured
from adaptertune_deploy.train.outcome.score_rows import score_rows
from tests.builders import make_backbone_spec, make_config, make_recipe, make_task
from tests.data.builders import make_dataset
from tests.train.outcome.measured_values import (
    make_gate,
    make_head_only,
    make_measure,
    make_measured,
    make_nested_widths,
    make_repeats,
)

SAMPLES = tuple(SampleRecord(f"0000{number}_ash.jpg", f"{number}" * 64, "ash") for number in range(2))


def card(
    measured: Measured | None = None,
    base_model: str | None = None,
    root: str = "adapters",
    classes: int = 3,
    name: str = "trees",
    recipe: RecipeRecord | None = None,
    widths: Sequence[WidthRecord] = (),
    **dataset: Any,
) -> str:
    found = measured or make_measured(classes)
    rank = 4 if found.adapter is not None else 0
    config = make_config(make_task(name, classes, rank=rank, blocks=(1, 3)), make_backbone_spec(name="vit_x.tag"))
    config = dataclasses.replace(config, samples=SAMPLES, versions={"torch": "2.10.0", "timm": "1.0.20"})
    config = dataclasses.replace(config, probe=ProbeRecord(0.3, 1.5), ships=found.ships)
    config = dataclasses.replace(config, widths=tuple(widths))
    if recipe is not None:
        config = dataclasses.replace(config, recipe=recipe)
    data = dataclasses.replace(make_dataset([2, 2], test=[1, 1]), **dataset)
    return model_card(config, found, data, base_model, root)


def flat(text: str) -> str:
    return " ".join(text.split())


def first_lines(measured: Measured) -> str:
    return card(measured).split("---\n")[2].strip().split("\n\n")[1]


def test_the_first_lines_say_what_ships_and_why() -> None:
    assert first_lines(make_measured()) == (
        "**The head alone ships: cross-validation shows no gain from the adapter.**"
    )
    won = make_measured(ships=ADAPTER, gate=make_gate(0.1, 0.02))
    assert first_lines(won) == "**The adapter ships: cross-validation shows that it beats the head alone.**"
    assert first_lines(make_head_only()) == "**The head alone ships: no adapter was trained (rank 0).**"


def test_the_card_states_the_facts_of_the_run() -> None:
    text = flat(card())
    for fact in (
        "# trees",
        "For `vit_x.tag` at 32 x 32 pixels (frozen weights sha256 `bbbbbbbbbbbbbbbb`), 3 classes: a linear head. Kept "
        "beside it (`atd export --ship adapter`): adapters (AdapterTune, arXiv 2603.14706) of rank 4 after blocks 1, 3"
        ", with a head of their own.",
        "Labels: trees 0, trees 1, trees 2.",
        "`squares`: 80 training images, 20 test images (official), on which nothing was trained; split sha256 "
        "`dddddddddddddddd`",
        "bit for bit (8 images)",
        "All 150 frozen tensors were unchanged at the end (sha256 `ffffffffffffffff`)",
        "Each of the 12 adapters received a gradient other than zero in the first step: all of them took part, which "
        "does not say that",
        "Trained with torch 2.10.0, timm 1.0.20.",
    ):
        assert fact in text
    won = flat(card(make_measured(ships=ADAPTER)))
    assert "3 classes: adapters (AdapterTune, arXiv 2603.14706) of rank 4 after blocks 1, 3, with a head" in won
    assert "The head alone is kept beside them (`atd export --ship head`)." in won


def test_a_test_image_that_was_trained_on_is_no_image_on_which_nothing_was_trained() -> None:
    leaked = "20 of 20 test images are also training images (first: a.png = b.png): accuracy on them means nothing"
    text = flat(card(make_measured(copies=Told((leaked,), ("2 images stand under two labels",)))))
    assert f"- {leaked}." in text
    assert "20 test images (official), some of which were trained on too, or nearly, see above; split sha256" in text
    assert "2 images stand under two labels." in text
    assert "on which nothing was trained" not in text
    other = flat(card(make_measured(copies=Told(others=("2 images stand under two labels",)))))
    assert "on which nothing was trained" in other


@pytest.mark.parametrize("classes", [3, 11])
def test_the_candidates_stand_side_by_side(classes: int) -> None:
    measured = make_measured(classes)
    text = card(measured, classes=classes)
    assert "| 40 test images | head alone (ships) | adapter + head |\n|---|---|---|\n" in text
    labels = tuple(f"trees {index}" for index in range(classes))
    for row in score_rows([measured.head, measured.adapter], labels, measured.frozen):
        assert f"| {' | '.join(row)} |\n" in text
    assert "| right | 30 of 40 | 33 of 40 |" in text


def test_every_comparison_is_a_test_in_words() -> None:
    text = flat(card(make_measured(repeats=make_repeats(31, 32))))
    for said in (
        "- Adapter against head alone, test images: 4 images better, 1 worse: no difference shown (p = 0.38);",
        "- Out of fold (3 folds, 259 images): loss 0.452 for the head alone, 0.431 with the adapter;",
        "- 3 seeds on the same test images: adapter 80.0 % on average,",
        "- 40 test images: one image is 2.5 points;",
    ):
        assert said in text
    assert "than what ships" not in text
    assert "- On the test images the adapter is better than what ships" in flat(
        card(make_measured(adapter=make_measure(40, 40)))
    )


def test_a_label_can_not_break_the_table() -> None:
    measured = make_measured()
    config = make_config(make_task("trees"), make_backbone_spec())
    task = dataclasses.replace(config.task, labels=("a|b", "c\nd", "e"))
    config = dataclasses.replace(config, task=task)
    text = model_card(config, measured, make_dataset([2, 2], test=[1, 1]), None, "adapters")
    assert "| worst class | 75.0 %: all classes | 16 of 20: a\\|b |\n" in text


def test_the_recipe_is_the_one_that_ran() -> None:
    recipe = dataclasses.replace(
        make_recipe(), epochs=5.5, steps=1_234, lr=0.002, head_lr=0.0006, placement="last:2", augment="digits", clip=0.0
    )
    text = card(recipe=recipe)
    for row in (
        "| head alone | linear probe on the frozen features, penalty C = 0.3 |",
        "| adapters | rank 4, alpha 1, placement last:2 |",
        "| length | 5.5 epochs, 1,234 steps of 32 images; last weights |",
        "| peak learning rate | 0.002, head 0.0006; linear warm-up over 10 % of the steps, then a cosine to zero |",
        "| optimiser | AdamW, weight decay 0 on matrices, gradients not clipped |",
        "| start of the head | linear probe with penalty C = 0.01 |",
        "| augmentation | preset `digits`; 33 % of the samples as they are served |",
        "| label smoothing | 0.1 |",
        "| class weights | balanced: every class counts the same |",
        "| comparison of the candidates | 3 folds, out of fold |",
        "| seed | 0 |",
        "| precision of the steps | fp32 |",
        "| device | cpu |",
        "| whole run | 12 seconds |",
    ):
        assert f"{row}\n" in text
    assert "| classes | of unequal size" in card(make_measured(classes_unequal=True))


def test_a_head_alone_claims_nothing_about_adapters() -> None:
    text = card(make_head_only())
    assert "A linear head for `vit_x.tag`" in flat(text)
    assert "| 40 test images | head alone (ships) |\n|---|---|\n" in text
    assert "AdapterTune" not in text
    assert "Nothing but a linear head was trained, so there was nothing to check." in text
    assert "gradient" not in text


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
    assert f", zz {MOST_LABELS}" not in text
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


def test_nested_adapters_have_a_table_of_their_widths() -> None:
    nested = make_nested_widths()
    text = card(make_measured(widths=nested), widths=[one.record for one in nested])
    section = text.split("## Widths")[1].split("## ")[0]
    assert "`atd export --rank 2`" in flat(section)
    assert "| 1 | 1,000 | 4.0 kB | 87.0 % | 0.530 | +0.030 ± 0.020 | 75.0 % |" in section
    assert "rank 4, nested, alpha 1" in text
    assert "## Widths" not in card()
