"""train.request.usual_backbone: a new task goes where the others are, never unsaid, and never onto the toy backbone."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptertune_deploy.core.adapter.folder import CONFIG_NAME
from adaptertune_deploy.model.names import DEFAULT_BACKBONE, EMBEDDED_BACKBONE
from adaptertune_deploy.train.request.usual_backbone import choose_backbone, other_weights
from tests.builders import make_backbone_spec, make_task, write_adapter

SMALL = "vit_small_patch16_224.augreg_in21k_ft_in1k"
LARGE = "vit_large_patch16_224.augreg_in21k_ft_in1k"


def trained(out: Path, **backbones: str) -> Path:
    """Write adapters, task -> the name of its backbone."""
    for task, name in backbones.items():
        write_adapter(out / task, make_task(task), make_backbone_spec(name=name))
    return out


def test_without_anything_there_the_default_is_taken_and_nothing_is_said(tmp_path: Path) -> None:
    choice = choose_backbone(None, None, tmp_path / "none", "pets")
    assert (choice.name, choice.sha256, choice.sentences) == (DEFAULT_BACKBONE, None, ())


def test_adapters_on_the_default_need_no_word(tmp_path: Path) -> None:
    choice = choose_backbone(None, None, trained(tmp_path, birds=DEFAULT_BACKBONE, cars=DEFAULT_BACKBONE), "pets")
    assert (choice.name, choice.sha256, choice.sentences) == (DEFAULT_BACKBONE, "b" * 64, ())


def test_the_backbone_of_the_adapters_there_is_taken_over_and_said(tmp_path: Path) -> None:
    choice = choose_backbone(None, None, trained(tmp_path, birds=SMALL, cars=SMALL), "pets")
    assert (choice.name, choice.sha256) == (SMALL, "b" * 64)
    assert choice.sentences == (
        f"training on {SMALL}, the backbone of {tmp_path / 'birds'}, {tmp_path / 'cars'}, not on {DEFAULT_BACKBONE}; "
        "for another one: --backbone NAME --out FOLDER",
    )


@pytest.mark.parametrize("name", [EMBEDDED_BACKBONE, "vit_tiny_patch16_224.random"])
def test_what_is_used_only_by_name_is_never_taken_over(tmp_path: Path, name: str) -> None:
    choice = choose_backbone(None, None, trained(tmp_path, digits=name, shapes=name), "pets")
    assert (choice.name, choice.sha256) == (DEFAULT_BACKBONE, None)
    assert choice.sentences == (
        f"{tmp_path / 'digits'}, {tmp_path / 'shapes'} are on {name}, and one bundle holds one backbone: this task, on "
        f"{DEFAULT_BACKBONE}, can't share it; to share, train on the same one (--backbone {name}), to keep them apart "
        "use another --out",
    )


def test_of_several_backbones_the_default_is_taken(tmp_path: Path) -> None:
    out = trained(tmp_path, a=SMALL, b=SMALL, c=DEFAULT_BACKBONE)
    choice = choose_backbone(None, None, out, "pets")
    assert choice.name == DEFAULT_BACKBONE
    assert choice.sentences[0].startswith(
        f"{out} holds adapters of 2 backbones; training on {choice.name}, the default;"
    )
    assert "can't share it" in choice.sentences[1]


def test_else_the_most_common_one(tmp_path: Path) -> None:
    choice = choose_backbone(None, None, trained(tmp_path, a=LARGE, b=SMALL, c=SMALL, d=EMBEDDED_BACKBONE), "pets")
    assert choice.name == SMALL
    assert f"training on {SMALL}, the most common" in choice.sentences[0]
    assert "--backbone NAME of one of them" in choice.sentences[1]


@pytest.mark.parametrize("asked", [DEFAULT_BACKBONE, DEFAULT_BACKBONE.partition(".")[0]])
def test_the_default_by_name_is_the_default(tmp_path: Path, asked: str) -> None:
    assert choose_backbone(asked, None, trained(tmp_path, birds=DEFAULT_BACKBONE), "pets").sentences == ()


def test_another_one_by_name_is_said_once(tmp_path: Path) -> None:
    assert choose_backbone(SMALL, None, tmp_path, "pets").sentences == (
        f"training on {SMALL}; the default is {DEFAULT_BACKBONE}",
    )
    (toy,) = choose_backbone(EMBEDDED_BACKBONE, None, tmp_path, "pets").sentences
    assert "the small one that ships in this package" in toy


def test_one_that_cannot_share_a_bundle_is_said_to(tmp_path: Path) -> None:
    (sentence,) = choose_backbone(DEFAULT_BACKBONE, None, trained(tmp_path, birds=SMALL), "pets").sentences
    assert sentence.startswith(f"{tmp_path / 'birds'} is on {SMALL}, and one bundle holds one backbone")
    assert f"(--backbone {SMALL})" in sentence


def test_the_adapter_that_will_be_replaced_stands_in_nobodys_way(tmp_path: Path) -> None:
    trained(tmp_path, pets=SMALL)
    assert choose_backbone(DEFAULT_BACKBONE, None, tmp_path, "pets").sentences == ()
    assert choose_backbone(None, None, tmp_path, "pets").name == SMALL
    (tmp_path / "pets" / CONFIG_NAME).write_text("{")
    assert choose_backbone(None, None, tmp_path, "pets").sentences == ()


def test_a_damaged_neighbour_is_named_and_passed_over(tmp_path: Path) -> None:
    trained(tmp_path, birds=SMALL, cars=DEFAULT_BACKBONE)
    (tmp_path / "birds" / CONFIG_NAME).write_text("{")
    choice = choose_backbone(None, None, tmp_path, "pets")
    assert choice.name == DEFAULT_BACKBONE
    (sentence,) = choice.sentences
    assert sentence.startswith(f"passing over {tmp_path / 'birds'}: ")
    assert "\n" not in sentence


def test_other_weights_of_the_same_name_are_found(tmp_path: Path) -> None:
    trained(tmp_path, birds=DEFAULT_BACKBONE, cars=SMALL)
    here = make_backbone_spec(name=DEFAULT_BACKBONE, sha256="c" * 64)
    (sentence,) = other_weights(here, tmp_path, "pets")
    assert sentence == (
        f"{tmp_path / 'birds'} has other weights of {DEFAULT_BACKBONE} (sha256 bbbbbbbbbbbb..., here cccccccccccc...), "
        "so one bundle can't hold both; give the same ones: --weights FILE"
    )
    assert other_weights(make_backbone_spec(name=DEFAULT_BACKBONE), tmp_path, "pets") == ()
    assert other_weights(here, tmp_path, "birds") == ()


def sized(out: Path, **sizes: tuple[int, int]) -> Path:
    """Write adapters on SMALL, task -> its image size."""
    for task, size in sizes.items():
        write_adapter(out / task, make_task(task), make_backbone_spec(name=SMALL, image_size=size))
    return out


@pytest.mark.parametrize("asked", [None, SMALL, "vit_small_patch16_224"])
def test_the_image_size_of_the_tasks_on_this_backbone_is_taken_over(tmp_path: Path, asked: str | None) -> None:
    out = sized(tmp_path, birds=(96, 96), cars=(96, 96))
    assert choose_backbone(asked, None, out, "pets").image_size == (96, 96)
    assert choose_backbone(LARGE, None, out, "pets").image_size is None
    assert choose_backbone(asked, None, sized(tmp_path, cars=(64, 64)), "pets").image_size is None


def test_the_own_older_folder_does_not_decide_the_size(tmp_path: Path) -> None:
    assert choose_backbone(SMALL, None, sized(tmp_path, pets=(96, 96)), "pets").image_size is None


def test_another_size_than_the_tasks_beside_it_is_said(tmp_path: Path) -> None:
    out = sized(tmp_path, birds=(96, 96), cars=(224, 224))
    choice = choose_backbone(SMALL, (224, 224), out, "pets")
    assert choice.image_size == (224, 224)
    assert choice.sentences[1:] == (
        f"{out / 'birds'} takes images of 96 x 96 pixels, and one bundle holds one size: this task, at 224 x 224, "
        "can't share it; to share, leave out --image-size, to keep them apart use another --out",
    )
    assert choose_backbone(SMALL, (224, 224), sized(tmp_path, birds=(224, 224)), "pets").sentences[1:] == ()
