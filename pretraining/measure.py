"""Measure the frozen backbone: linear probes on real images, beside random weights and plain features.

    python -m pretraining.measure --weights FILE --cifar10 DIR --out pretraining/results.json

DIR holds CIFAR-10 as image folders, `train/<class>/*` and `test/<class>/*`.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional
from torchvision.datasets import ImageFolder

from pretraining import network
from pretraining.augment import SIZE
from pretraining.descriptor import describe

SEEDS = (0, 1, 2)
STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""Values of the probe's C; one is chosen on a fifth of the training images."""

Pixels = NDArray[np.uint8]
Features = NDArray[np.float32]
Extractor = Callable[[Pixels], Features]
"""Turns images, uint8 [count, 64, 64, 3], into features, float32 [count, width]."""


@dataclass(frozen=True)
class Labelled:
    """Images, uint8 [count, 64, 64, 3], with their labels, int64 [count]."""

    images: Pixels
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Accuracy:
    """Test accuracy in percent: mean and standard deviation over the seeds, and each of them."""

    mean: float
    std: float
    runs: tuple[float, ...]


def enlarge(image: Image.Image) -> Pixels:
    """Resize to the backbone's input as its preprocessing does: bicubic, the whole image."""
    return np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def read_digits(seed: int) -> tuple[Labelled, Labelled]:
    """Split scikit-learn's 1,797 digits, seven tenths for training, stratified."""
    bunch = load_digits()
    scans = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    images = np.stack([enlarge(Image.fromarray(scan)) for scan in scans])
    train, test = train_test_split(np.arange(len(images)), test_size=0.3, stratify=bunch.target, random_state=seed)
    return Labelled(images[train], bunch.target[train]), Labelled(images[test], bunch.target[test])


def read_folder(folder: Path) -> Labelled:
    """Read an image folder, one subfolder a class."""
    files = ImageFolder(str(folder))
    return Labelled(np.stack([enlarge(image) for image, _ in files]), np.array(files.targets))


def four_fifths(data: Labelled, seed: int) -> Labelled:
    """Keep a random four fifths of the images, stratified."""
    kept, _ = train_test_split(np.arange(len(data.images)), test_size=0.2, stratify=data.labels, random_state=seed)
    return Labelled(data.images[kept], data.labels[kept])


def backbone_features(backbone: nn.Module) -> Extractor:
    """The pooled, normalised output of a network."""
    backbone.eval()

    def extract(images: Pixels) -> Features:
        return _by_batches(images, lambda batch: backbone(batch * 2 - 1))

    return extract


def _by_batches(images: Pixels, function: Callable[[Tensor], Tensor]) -> Features:
    """Apply a function of float32 [count, 3, 64, 64] within 0..1 to a few images at a time."""
    with torch.inference_mode():
        batches = torch.split(torch.from_numpy(images).permute(0, 3, 1, 2), 250)
        return np.concatenate([function(batch / 255).numpy() for batch in batches])


def pretrained(weights: Path) -> nn.Module:
    """Load the network from the file that pretraining wrote."""
    backbone = network.create()
    backbone.load_state_dict({name: tensor.float() for name, tensor in load_file(weights).items()})
    return backbone


def untrained(seed: int) -> nn.Module:
    """The same network with the random weights that training starts from."""
    torch.manual_seed(seed)
    return network.create()


def coarse_pixels(images: Pixels) -> Features:
    """The image itself at 16x16 pixels."""
    return _by_batches(images, lambda batch: functional.avg_pool2d(batch, SIZE // 16).flatten(1))


def descriptors(images: Pixels) -> Features:
    """The hand-made descriptor that the network learns to predict."""
    return _by_batches(images, describe)


def probe(train: Labelled, test: Labelled, extract: Extractor, seed: int) -> float:
    """Fit logistic regression on standardised frozen features; return the test accuracy in percent."""
    features = extract(train.images)
    fit, check = train_test_split(np.arange(len(features)), test_size=0.2, stratify=train.labels, random_state=seed)
    best = max(
        STRENGTHS,
        key=lambda c: _regression(c).fit(features[fit], train.labels[fit]).score(features[check], train.labels[check]),
    )
    model = _regression(best).fit(features, train.labels)
    return 100 * float(model.score(extract(test.images), test.labels))


def _regression(strength: float) -> LogisticRegression:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000, tol=1e-3))


def measure(weights: Path, cifar10: Path) -> dict[str, dict[str, Accuracy]]:
    """Probe every kind of feature on both datasets; a seed decides the split and the random weights."""
    trained = backbone_features(pretrained(weights))
    cifar10_train, cifar10_test = read_folder(cifar10 / "train"), read_folder(cifar10 / "test")
    runs: dict[str, dict[str, list[float]]] = {"digits": {}, "cifar10": {}}
    for seed in SEEDS:
        extractors: dict[str, Extractor] = {
            "pretrained": trained,
            "random": backbone_features(untrained(seed)),
            "pixels": coarse_pixels,
            "descriptor": descriptors,
        }
        splits = {"digits": read_digits(seed), "cifar10": (four_fifths(cifar10_train, seed), cifar10_test)}
        for dataset, (train, test) in splits.items():
            for name, extract in extractors.items():
                accuracy = probe(train, test, extract, seed)
                runs[dataset].setdefault(name, []).append(accuracy)
                print(f"seed {seed} {dataset} {name} {accuracy:.2f} %", flush=True)
    return {
        dataset: {name: summary(accuracies) for name, accuracies in by_name.items()}
        for dataset, by_name in runs.items()
    }


def summary(accuracies: Sequence[float]) -> Accuracy:
    """Mean and sample standard deviation, which is 0 for a single run, rounded to hundredths."""
    runs = tuple(round(accuracy, 2) for accuracy in accuracies)
    deviation = float(np.std(runs, ddof=1)) if len(runs) > 1 else 0.0
    return Accuracy(round(float(np.mean(runs)), 2), round(deviation, 2), runs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options, measure and write the results."""
    parser = argparse.ArgumentParser(description="Probe the pretrained backbone.")
    parser.add_argument("--weights", type=Path, required=True, help="file that pretraining.pretrain wrote")
    parser.add_argument("--cifar10", type=Path, required=True, help="folder with train/ and test/ image folders")
    parser.add_argument("--out", type=Path, required=True, help="results file (JSON)")
    options = parser.parse_args(arguments)
    probes = measure(options.weights, options.cifar10)
    results = {
        "parameters": sum(parameter.numel() for parameter in network.create().parameters()),
        "file_bytes": options.weights.stat().st_size,
        "seeds": SEEDS,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "linear_probe_percent": {
            dataset: {name: asdict(accuracy) for name, accuracy in by_name.items()}
            for dataset, by_name in probes.items()
        },
    }
    options.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
