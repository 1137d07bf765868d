"""Defects planted in the data or in the network: `atd train` catches each of them and names it.

The backbone is the tiny random network of tests.model.builders, so that a whole training takes a second or two.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import log_softmax

from adaptertune_deploy.cli import main
from adaptertune_deploy.core.adapter.folder import AdapterConfig, read_config
from adaptertune_deploy.data.samples import ArrayReader, Dataset, Split
from adaptertune_deploy.model.adapter import Adapter
from adaptertune_deploy.train import prepare as preparing
from adaptertune_deploy.train.comparison.candidates import frozen_features
from adaptertune_deploy.train.comparison.measuring import fit_head_alone
from adaptertune_deploy.train.probe.head import fit_head
from adaptertune_deploy.train.probe.probe import PENALTIES
from tests.data.scenes import scene
from tests.model.builders import make_backbone
from tests.train.runs import draw, make_run

SMALL = ("--rank", "2", "--epochs", "1", "--batch-size", "16", "--folds", "2")
LONG = ("--rank", "8", "--epochs", "16", "--batch-size", "16", "--folds", "2")


class Told(NamedTuple):
    """What a training said and left.

    terminal: standard output and error, white space folded.
    card: README.md, white space folded.
    facts: report.json.
    """

    terminal: str
    card: str
    config: AdapterConfig
    facts: dict[str, Any]


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    """Return a function that runs `atd train` on a folder."""
    monkeypatch.setattr(preparing, "load_backbone", lambda *_, **__: make_backbone())
    monkeypatch.setattr(preparing, "backbone_depth", lambda *_: 3)
    monkeypatch.setenv("COLUMNS", "200")

    def run(folder: Path, *options: str) -> Told:
        out = tmp_path / "adapters"
        usual = ("--out", str(out), "--backbone", "vit_pico_patch8_64.random", "--device", "cpu", "--precision", "fp32")
        monkeypatch.setattr(sys, "argv", ["atd", "train", "--dataset", str(folder), *usual, *options])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.run()
        printed = capfd.readouterr()
        assert not ended.value.code, printed.err
        left = out / folder.name
        card, facts = (left / "README.md").read_text(), json.loads((left / "report" / "report.json").read_text())
        return Told(folded(printed.out + printed.err), folded(card), read_config(left), facts)

    return run


def folded(text: str) -> str:
    return " ".join(text.split())


def save(root: Path, part: str, label: str, pixels: np.ndarray, number: int) -> None:
    folder = root / part / label
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:03d}.png")


def two_lights(generator: np.random.Generator, label: int) -> np.ndarray:
    """Return an image in which red and blue are both strong or both weak (0), or one of each (1).

    What decides is a product of two things, which a linear head on a random network sees only in part.
    """
    red = int(generator.integers(0, 2))
    pixels = 110 + generator.normal(0, 25, (24, 24, 3)) + generator.normal(0, 20, (1, 1, 3))
    pixels[..., 0] += 40 * (2 * red - 1)
    pixels[..., 2] += 40 * (2 * (red ^ label) - 1)
    return pixels


def make_lights(root: Path, images: int = 160, shuffled: bool = False) -> Path:
    """Write pictures of two_lights in two classes, and 60 test images; shuffled: under labels drawn at random."""
    generator = np.random.default_rng(5)
    for part, count in (("train", images), ("test", 60)):
        for number in range(count):
            label = number % 2
            shown = int(generator.integers(0, 2)) if shuffled else label
            save(root, part, ("same", "different")[label], two_lights(generator, shown), number)
    return root


# What the gate has to get right, both ways.


def test_an_adapter_that_helps_ships(train: Callable[..., Told], tmp_path: Path) -> None:
    told = train(make_lights(tmp_path / "lights"), *LONG)
    gate = told.facts["out_of_fold"]
    assert told.config.ships == "adapter"
    assert gate["standard_errors"] > 4
    assert gate["adapter"]["top1"] > gate["head"]["top1"]
    assert told.facts["adapter"]["right"] > told.facts["head"]["right"]  # on images that decided nothing
    for said in (told.terminal, told.card):
        assert "he adapter ships: cross-validation shows that it beats the head alone" in said
        assert " worse: better (p" in said


def test_a_task_without_anything_to_learn_ships_the_head(train: Callable[..., Told], tmp_path: Path) -> None:
    told = train(make_lights(tmp_path / "lights", shuffled=True), *LONG)
    assert told.config.ships == "head"
    assert told.facts["out_of_fold"]["standard_errors"] < 2
    # On 60 images with drawn labels one of twenty pairs differs "significantly"; one of a thousand differs so much.
    assert told.facts["paired"]["p"] > 0.001
    for said in (told.terminal, told.card):
        assert "he head alone ships: " in said
        assert "beats" not in said


def test_an_adapter_that_only_adds_noise_does_not_ship(
    train: Callable[..., Told], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Adapter.forward
    generator = torch.Generator().manual_seed(0)

    def noisy(self: Adapter, x: torch.Tensor) -> torch.Tensor:
        branch = forward(self, x)
        noise = torch.randn(x.shape, generator=generator)
        return branch + 20 * noise * bool(self.up.weight.any())  # the start is exact, so its proof holds

    monkeypatch.setattr(Adapter, "forward", noisy)
    told = train(make_lights(tmp_path / "lights"), *LONG)
    assert told.config.ships == "head"
    assert told.facts["out_of_fold"]["gain"] < 0
    for said in (told.terminal, told.card):
        assert "he head alone ships: in cross-validation the adapter does worse" in said


def test_an_adapter_too_weak_to_change_anything_does_not_ship(train: Callable[..., Told], tmp_path: Path) -> None:
    """Its head is another one than the probe, trained longer from a poorer start; that alone is no reason to ship."""
    told = train(make_lights(tmp_path / "lights"), *LONG, "--alpha", "1e-4")
    assert told.config.ships == "head"
    assert "=> the head alone ships: " in told.terminal


# The baseline.


def make_ties(images: int = 60, fresh: int = 600) -> Dataset:
    """Return striped pictures under noise, of which most penalties get a few right, and fresh ones to judge by."""
    generator = np.random.default_rng(3)
    targets = np.arange(images + fresh, dtype=np.int64) % 3
    names = tuple(map(str, range(len(targets))))
    noisy = [draw(int(target), row) + generator.normal(0, 60, (24, 24, 3)) for row, target in enumerate(targets, 7_000)]
    reader = ArrayReader({name: one.clip(0, 255).astype(np.uint8) for name, one in zip(names, noisy, strict=True)})
    train, test = (Split(names[part], targets[part], reader) for part in (slice(images), slice(images, None)))
    return Dataset("ties", "ties", ("ash", "elm", "oak"), train, None, test, "CC0-1.0", False, True, "plain")


def test_the_baseline_is_not_one_that_ties_have_settled() -> None:
    """Top-1 on a few held-out images, ties to the strongest penalty, never refitted: the easy mark to beat."""
    run = make_run(make_ties())
    frozen, probe = fit_head_alone(run)
    features, targets = frozen.features, frozen.targets
    fresh, wanted = frozen_features(run, "test")

    def loss(head: Any) -> float:
        return float(-log_softmax(head.logits(fresh).astype(np.float64), axis=1)[np.arange(len(wanted)), wanted].mean())

    kept, held = np.arange(54), np.arange(54, 60)
    heads = [fit_head(features[kept], targets[kept], 3, penalty) for penalty in PENALTIES]
    right = [float((head.logits(features[held]).argmax(axis=1) == targets[held]).mean()) for head in heads]
    assert right.count(max(right)) > 5  # the ties that were planted
    easy = loss(heads[right.index(max(right))])
    best = min(loss(fit_head(features, targets, 3, penalty)) for penalty in PENALTIES)
    assert loss(probe.head) <= 1.1 * best
    assert easy > 3 * loss(probe.head)


# The data.


def make_scenes(root: Path, train: int = 6, test: int = 4) -> Path:
    """Write scenes of two classes; no two are alike."""
    for place, label in enumerate(("cat", "dog")):
        for part, count in (("train", train), ("test", test)):
            for number in range(count):
                image = scene(1000 * place + (0 if part == "train" else 500) + number, (64, 60))
                save(root, part, label, np.asarray(image), number)
    return root


def test_a_sound_dataset_is_told_of_no_copies(train: Callable[..., Told], tmp_path: Path) -> None:
    told = train(make_scenes(tmp_path / "pets"), *SMALL)
    assert "training images: accuracy" not in told.terminal
    assert "atd data check" not in told.terminal
    assert "on which nothing was trained" in told.card
    assert told.facts["copies"] == []


def test_test_images_that_are_training_images_are_named(train: Callable[..., Told], tmp_path: Path) -> None:
    root = make_scenes(tmp_path / "pets")
    shutil.copy(root / "train" / "cat" / "000.png", root / "test" / "cat" / "000.png")
    Image.open(root / "train" / "dog" / "001.png").save(root / "test" / "dog" / "001.png", compress_level=1)
    told = train(root, *SMALL)
    said = (
        "2 of 8 test images are also training images (first: test/cat/000.png = train/cat/000.png): accuracy on them "
        "means nothing"
    )
    assert said in told.terminal
    assert said in told.card
    assert said in told.facts["copies"][0]
    assert "on which nothing was trained" not in told.card


def test_test_images_that_were_saved_again_with_loss_are_named(train: Callable[..., Told], tmp_path: Path) -> None:
    root = make_scenes(tmp_path / "pets")
    (root / "test" / "cat" / "000.png").unlink()
    Image.open(root / "train" / "cat" / "003.png").save(root / "test" / "cat" / "000.jpg", quality=85)
    told = train(root, *SMALL)
    assert (
        "1 of 8 test images is a near copy of a training image (first: test/cat/000.jpg ~ train/cat/003.png)"
        in told.terminal
    )


def test_copies_within_the_data_never_straddle_a_test_that_is_held_out(
    train: Callable[..., Told], tmp_path: Path
) -> None:
    """Without a test split of its own, whatever is there twice is on one side, so nothing leaks and nothing is said."""
    root = tmp_path / "pets"
    for place, label in enumerate(("cat", "dog")):
        for number in range(20):
            save(root, "", label, np.asarray(scene(1000 * place + number // 2, (64, 60))), number)
    told = train(root, *SMALL)
    assert "also training images" not in told.terminal
    assert told.config.dataset.test % 2 == 0


def test_an_image_under_two_labels_is_named(train: Callable[..., Told], tmp_path: Path) -> None:
    root = make_scenes(tmp_path / "pets")
    shutil.copy(root / "train" / "cat" / "000.png", root / "train" / "dog" / "099.png")
    told = train(root, *SMALL)
    assert (
        "2 images stand under two labels (first: train/cat/000.png as 'cat' and train/dog/099.png as 'dog')"
        in told.terminal
    )


def make_unequal(root: Path) -> Path:
    """Write 200 images of class a and 2 of class b, with nothing in them that tells one from the other."""
    generator = np.random.default_rng(0)
    for label, count in (("a", 200), ("b", 2)):
        for number in range(count):
            save(root, "", label, generator.integers(0, 256, (16, 16, 3)), number)
    return root


def test_always_the_common_class_is_not_sold_as_an_accuracy(train: Callable[..., Told], tmp_path: Path) -> None:
    told = train(make_unequal(tmp_path / "letters"), *SMALL, "--class-weights", "none")
    assert (told.facts["head"]["right"], told.facts["head"]["images"]) == (40, 41)  # 97.6 %: always class a
    assert (
        "note: the classes differ in size: every image counts the same, as --class-weights none asks" in told.terminal
    )
    for said in (told.terminal, told.card):
        assert "97.6 %" in said
        assert "50.0 %" in said[said.index("balanced accuracy") :][:60]
        assert "0 of 1: b" in said[said.index("worst class") :][:60]
    assert told.facts["head"]["balanced"] == 0.5
    assert told.facts["head"]["worst_class"] == {"label": "b", "images": 1, "right": 0}
    assert "top-1 counts images, balanced accuracy counts classes" in told.card


def test_unequal_classes_count_the_same_unless_asked_otherwise(train: Callable[..., Told], tmp_path: Path) -> None:
    told = train(make_unequal(tmp_path / "letters"), *SMALL)
    assert "note: the classes differ in size: every class counts the same; --class-weights none lets" in told.terminal
    assert told.config.recipe is not None
    assert told.config.recipe.class_weights == "balanced"
    for said in (told.terminal, told.card):
        assert "balanced accuracy" in said
        assert "worst class" in said


def test_a_test_of_few_images_says_what_it_can_not_show(train: Callable[..., Told], tmp_path: Path) -> None:
    told = train(make_scenes(tmp_path / "pets"), *SMALL)
    sentence = (
        "8 test images: one image is 12.5 points; models that differ on fewer than 6 images (75.0 points) can't be"
    )
    assert sentence in told.terminal
    assert sentence in told.card
    low, high = told.facts["head"]["top1_interval"]
    assert high - low > 0.4
