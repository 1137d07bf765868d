"""Tiny datasets on disk and in memory that the tests of data/ and train/ start from."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from adaptertune_deploy.data.samples import ArrayReader, Dataset, Split


def save_image(path: Path, seed: int = 0, size: tuple[int, int] = (40, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def make_folder(root: Path, classes: Mapping[str, int], size: tuple[int, int] = (40, 30)) -> Path:
    """Write class folders with so many PNG files each, no two alike: <class>/0.png, <class>/1.png, ..."""
    for place, (label, count) in enumerate(classes.items()):
        for number in range(count):
            save_image(root / label / f"{number}.png", seed=1000 * place + number, size=size)
    return root


def make_pets(root: Path, trainval: list[str], test: list[str]) -> Path:
    """Write the layout of Oxford-IIIT Pet; the lines are "image class species breed"."""
    base = root / "oxford-iiit-pet"
    (base / "images").mkdir(parents=True)
    (base / "annotations").mkdir()
    for name, lines in (("trainval", trainval), ("test", test)):
        (base / "annotations" / f"{name}.txt").write_text("\n".join(lines) + "\n")
        for line in lines:
            save_image(base / "images" / f"{line.split()[0]}.jpg")
    return root


def make_pickle(value: object) -> bytes:
    """Return a value as Python 2's cPickle wrote it in protocol 2, as in the batch files of CIFAR."""
    return b"\x80\x02" + _pickled(value) + b"."


def _pickled(value: object) -> bytes:
    if isinstance(value, bytes):
        return (b"U" + bytes([len(value)]) if len(value) < 256 else b"T" + struct.pack("<i", len(value))) + value
    if isinstance(value, str):
        return _pickled(value.encode("latin-1"))
    if isinstance(value, (int, np.integer)):
        return b"K" + bytes([int(value)]) if value < 256 else b"M" + struct.pack("<H", int(value))
    if isinstance(value, list):
        return b"](" + b"".join(map(_pickled, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(_pickled(key) + _pickled(item) for key, item in value.items()) + b"u"
    assert isinstance(value, np.ndarray)
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    state = (
        b"(K\x01" + b"".join(map(_pickled, value.shape)) + b"\x86" + dtype + b"\x89" + _pickled(value.tobytes()) + b"tb"
    )
    return b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R" + state


def make_cifar(root: Path, classes: int = 10) -> Path:
    """Write the layout of CIFAR-10, or of CIFAR-100: two training images a class in all, one test image for three."""
    generator = np.random.default_rng(classes)
    ten = classes == 10
    folder = root / ("cifar-10-batches-py" if ten else "cifar-100-python")
    folder.mkdir(parents=True)
    names = [f"data_batch_{number}" for number in range(1, 6)] if ten else ["train"]
    share = 2 * classes // len(names)
    parts = {name: [(share * number + row) % classes for row in range(share)] for number, name in enumerate(names)}
    parts["test_batch" if ten else "test"] = [2, 0, 1]
    for name, targets in parts.items():
        batch = {
            "data": generator.integers(0, 256, (len(targets), 3072), dtype=np.uint8),
            "labels" if ten else "fine_labels": targets,
            "batch_label": name,
            "filenames": [f"{name}_{row}.png" for row in range(len(targets))],
        }
        (folder / name).write_bytes(make_pickle(batch))
    meta = {"label_names" if ten else "fine_label_names": [f"a_class_{row}" for row in range(classes)], "num_vis": 3072}
    (folder / ("batches.meta" if ten else "meta")).write_bytes(make_pickle(meta))
    return root


def make_food101(root: Path) -> Path:
    base = root / "food-101"
    lists = {"train": {"pizza": [3, 1], "apple_pie": [2]}, "test": {"pizza": [4], "apple_pie": [5, 6]}}
    (base / "meta").mkdir(parents=True)
    for part, classes in lists.items():
        images = {label: [f"{label}/{number}" for number in numbers] for label, numbers in classes.items()}
        (base / "meta" / f"{part}.json").write_text(json.dumps(images))
        for name in (name for names in images.values() for name in names):
            save_image(base / "images" / f"{name}.jpg", seed=len(name))
    return root


def make_aircraft(root: Path) -> Path:
    data = root / "fgvc-aircraft-2013b" / "data"
    lines = {
        "train": ["0000001 707-320", "0000002 DHC-8-100", "0000003 Cessna 172"],
        "val": ["0000004 Cessna 172"],
        "test": ["0000005 707-320", "0000006 DHC-8-100"],
    }
    for part, listed in lines.items():
        for line in listed:
            save_image(data / "images" / f"{line.split()[0]}.jpg", seed=int(line.split()[0]), size=(50, 60))
        (data / f"images_variant_{part}.txt").write_text("\n".join(listed) + "\n")
    lines["trainval"] = lines["train"] + lines["val"]
    (data / "images_variant_trainval.txt").write_text("\n".join(lines["trainval"]) + "\n")
    (data / "variants.txt").write_text("707-320\nCessna 172\nDHC-8-100\n")
    return root


def make_tinyimagenet(root: Path) -> Path:
    base = root / "tiny-imagenet-200"
    words = {"n02000001": "crane, machine", "n01000001": "crane, bird", "n03000001": "goose"}
    for wnid in words:
        for number in range(2):
            save_image(base / "train" / wnid / "images" / f"{wnid}_{number}.JPEG", seed=number, size=(64, 64))
        (base / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t0\t63\t63\n")
    answers = ["val_0.JPEG\tn03000001\t0\t32\t44\t62", "val_1.JPEG\tn01000001\t0\t0\t9\t9"]
    for number in range(len(answers)):
        save_image(base / "val" / "images" / f"val_{number}.JPEG", seed=9 + number, size=(64, 64))
    save_image(base / "test" / "images" / "test_0.JPEG", size=(64, 64))
    (base / "val" / "val_annotations.txt").write_text("\n".join(answers) + "\n")
    (base / "wnids.txt").write_text("\n".join(words) + "\n")
    (base / "words.txt").write_text("".join(f"{wnid}\t{name}\n" for wnid, name in {**words, "n09": "x"}.items()))
    return root


def make_gtsrb(root: Path) -> Path:
    base = root / "gtsrb"
    for row in range(43):
        save_image(base / "GTSRB" / "Training" / f"{row:05d}" / "00000_00000.ppm", seed=row, size=(20, 24))
        (base / "GTSRB" / "Training" / f"{row:05d}" / f"GT-{row:05d}.csv").write_text("Filename;Width\n")
    for number in range(2):
        save_image(base / "GTSRB" / "Final_Test" / "Images" / f"{number:05d}.ppm", seed=50 + number, size=(30, 20))
    header = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
    rows = ["00000.ppm;30;20;6;5;48;49;16", "00001.ppm;30;20;5;5;36;40;1"]
    (base / "GT-final_test.csv").write_text("\n".join([header, *rows]) + "\n")
    return root


def make_idx(path: Path, array: npt.NDArray[np.uint8]) -> None:
    """Write bytes in the format of MNIST: two zeros, the type, the number of axes, their lengths, the bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


def make_mnist(raw: Path, classes: range, prefixes: Mapping[str, str]) -> None:
    """Write one training image a class and three test images below `raw`; prefixes: part -> start of its names."""
    generator = np.random.default_rng(len(classes))
    for part, prefix in prefixes.items():
        targets = np.array(classes if part == "train" else list(classes)[:3], dtype=np.uint8)
        make_idx(
            raw / f"{prefix}-images-idx3-ubyte", generator.integers(0, 256, (len(targets), 28, 28), dtype=np.uint8)
        )
        make_idx(raw / f"{prefix}-labels-idx1-ubyte", targets)


def make_split(counts: list[int], prefix: str = "train", side: int = 8) -> Split:
    """Return counts[c] images of each class c in memory, in the order of the classes."""
    targets = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    names = tuple(f"{prefix}/{row}" for row in range(len(targets)))
    generator = np.random.default_rng(len(targets))
    pixels = {name: generator.integers(0, 256, (side, side, 3), dtype=np.uint8) for name in names}
    return Split(names, targets, ArrayReader(pixels))


def make_dataset(train: list[int], val: list[int] | None = None, test: list[int] | None = None) -> Dataset:
    whole = [make_split(counts or [0] * len(train), part) for part, counts in (("a", train), ("b", val), ("c", test))]
    reader = ArrayReader({name: pixels for split in whole for name, pixels in split.reader.pixels.items()})  # type: ignore[attr-defined]
    first, second, third = (Split(split.names, split.targets, reader) for split in whole)
    return Dataset(
        name="toy",
        task="toy",
        labels=tuple(f"class {number}" for number in range(len(train))),
        train=first,
        val=None if val is None else second,
        test=None if test is None else third,
        licence="CC0-1.0",
        non_commercial=False,
        redistributable=True,
        augment="plain",
    )
