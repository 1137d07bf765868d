"""Draw the pretraining dataset: the same seed gives the same pixels, however many processes draw.

python -m pretraining.images --out DIR --seed 0 --per-class 150 --processes 2
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from pretraining.formulas.contour import Contour
from pretraining.formulas.formula import Formula, Image
from pretraining.formulas.fractal import Fractal
from pretraining.formulas.grating import Grating
from pretraining.formulas.noise import Noise
from pretraining.formulas.scene import Scene
from pretraining.formulas.stroke import Glyph

GENERATOR_VERSION = "1"
"""Changes whenever the same seed would give other pixels."""

SIZE = 72
"""Pixels a side: a little more than the network's 64, for crops."""


@dataclass(frozen=True)
class Family:
    """A kind of formula and how many classes of it the dataset holds."""

    name: str
    sample: Callable[[np.random.Generator], Formula]
    classes: int


FAMILIES = (
    Family("fractal", Fractal.sample, 180),
    Family("contour", Contour.sample, 180),
    Family("grating", Grating.sample, 120),
    Family("noise", Noise.sample, 100),
    Family("stroke", Glyph.sample, 240),
    Family("scene", Scene.sample, 180),
)
CLASSES = sum(family.classes for family in FAMILIES)


def formula(seed: int, label: int) -> Formula:
    """Return the formula of a class; labels count through the families in order."""
    first = 0
    for family in FAMILIES:
        if first <= label < first + family.classes:
            return family.sample(np.random.default_rng([seed, label]))
        first += family.classes
    raise ValueError(f"label {label}: expected 0 to {CLASSES - 1}")


def draw(seed: int, label: int, instance: int, size: int = SIZE) -> Image:
    """Draw one instance of one class, uint8 [size, size, 3]."""
    return formula(seed, label).draw(np.random.default_rng([seed, label, instance + 1]), size)


def _draw_class(label: int, path: Path, seed: int, per_class: int) -> None:
    """Write a class's images into its rows of the file."""
    images = np.load(path, mmap_mode="r+")
    for instance in range(per_class):
        images[label * per_class + instance] = draw(seed, label, instance)


def draw_dataset(out: Path, seed: int, per_class: int, processes: int) -> None:
    """Write `images.npy`, uint8 [classes * per_class, 72, 72, 3] sorted by class, and `images.json`."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "images.npy"
    shape = (CLASSES * per_class, SIZE, SIZE, 3)
    open_memmap(path, mode="w+", dtype=np.uint8, shape=shape).flush()
    job = partial(_draw_class, path=path, seed=seed, per_class=per_class)
    with ProcessPoolExecutor(processes) as pool:
        for label, _ in enumerate(pool.map(job, range(CLASSES), chunksize=4)):
            if label % 100 == 0:
                print(f"{label} of {CLASSES} classes drawn", flush=True)
    facts = {"generator_version": GENERATOR_VERSION, "seed": seed, "per_class": per_class, "classes": CLASSES}
    (out / "images.json").write_text(json.dumps(facts, indent=2) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options and draw."""
    parser = argparse.ArgumentParser(description="Draw the pretraining dataset.")
    parser.add_argument("--out", type=Path, required=True, help="folder for images.npy and images.json")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--per-class", type=int, default=150)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    draw_dataset(options.out, options.seed, options.per_class, options.processes)


if __name__ == "__main__":
    main()
