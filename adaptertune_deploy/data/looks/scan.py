"""One pass over every file of a dataset: what it is, how it is stored, and what it looks like."""

from __future__ import annotations

import contextlib
import hashlib
import math
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from PIL import Image

from adaptertune_deploy.core import cores
from adaptertune_deploy.core.errors import AtdError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.core.images.orientation import UPRIGHT, orientation_of
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.data.looks.fingerprint import Fingerprint, fingerprint
from adaptertune_deploy.data.samples import Split

# Files in flight for each thread, so that one slow file does not stop the others.
AHEAD = 4
# Photographs of more pixels than this are decoded two at a time, whatever the number of threads.
LARGE = 12_000_000
# Shorter side, in pixels, of a photograph that is decoded reduced.
REDUCED = 64
REDUCIBLE = ("JPEG", "MPO")
TURNED = 5  # from here on, width and height change places

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Look:
    """One image of a dataset; about 1.5 kB.

    split, name, label: where it stands; the label is the index of its class.
    error: why it can't be read, "" when it can; what follows is then unknown.
    sha256: hexadecimal, of the file's bytes.
    suffix: of the file, in lower case.
    format: Pillow's name of what the file is, "JPEG" for example.
    mode: Pillow's name of how pixels are stored, "RGB" for example.
    width, height: in pixels, as it stands upright.
    orientation: the EXIF tag, 1 to 8; 1 is upright.
    deep: whether a pixel has more than 8 bits a channel.
    transparent: whether it has an alpha channel or a transparent colour.
    animated: whether it has more than one frame.
    print: None when it can't be read.
    """

    split: str
    name: str
    label: int
    error: str = ""
    sha256: str = ""
    suffix: str = ""
    format: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    orientation: int = UPRIGHT
    deep: bool = False
    transparent: bool = False
    animated: bool = False
    print: Fingerprint | None = None

    @property
    def reducible(self) -> bool:
        """Whether `scan` decodes it in full or at a part of its size, as it is asked to."""
        kind, pixels = self.format in REDUCIBLE, self.width * self.height
        return kind and pixels <= preprocess.MAX_PIXELS and min(self.width, self.height) >= 2 * REDUCED


def scan(splits: Mapping[str, Split], progress: Progress = silent, *, reduced: bool = False) -> tuple[Look, ...]:
    """Read every image of some splits once, on as many threads as there are cores; in the splits' order.

    An image that can't be read is told by its `error` and never stops the pass. At any time a few files for each
    thread are in memory, and two large photographs.

    Args:
        splits: by name.
        progress: told about the reading.
        reduced: decode JPEG files at a part of their size, several times faster; their prints then have other
            `pixels` than the same image in another format.
    """
    rows = [(part, split, row) for part, split in splits.items() for row in range(len(split))]
    printer = _Printer(reduced)
    looks: list[Look] = []
    progress("reading images", 0, len(rows))
    # Pillow warns about odd headers; the filters belong to the whole process, so they are set before any thread runs.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for look in _in_order(lambda place: _look(*place, printer), rows):
            looks.append(look)
            progress("reading images", len(looks), len(rows))
    return tuple(looks)


def _in_order(work: Callable[[tuple[str, Split, int]], Result], rows: list[tuple[str, Split, int]]) -> Iterator[Result]:
    threads = cores.usable(cores.read_small)
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for row in rows:
            pending.append(pool.submit(work, row))
            if len(pending) >= AHEAD * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _look(part: str, split: Split, row: int, printer: _Printer) -> Look:
    name = split.names[row]
    look = Look(part, name, int(split.targets[row]))
    try:
        data, suffix = split.encoded(row)
        look = _described(replace(look, sha256=hashlib.sha256(data).hexdigest(), suffix=suffix), data)
        return replace(look, print=printer(data, look.width * look.height))
    except (AtdError, OSError) as error:
        return replace(look, error=_reason(error, name))


def _described(look: Look, data: bytes) -> Look:
    """Return a look with what the file's header says."""
    image = preprocess.header(data)
    orientation = _orientation(image, data)
    width, height = image.size if orientation < TURNED else image.size[::-1]
    return replace(
        look,
        format=image.format or "",
        mode=image.mode,
        width=width,
        height=height,
        orientation=orientation,
        deep=image.mode.startswith("I") or any(";16" in str(tile[3]) for tile in getattr(image, "tile", ())),
        transparent="A" in image.mode or "transparency" in image.info,
        animated=image.format != "MPO" and bool(getattr(image, "is_animated", False)),
    )


def _orientation(image: Image.Image, data: bytes) -> int:
    if image.format == "PNG" and b"eXIf" in data:  # which may follow the pixels
        with contextlib.suppress(Exception):  # decoding says what is wrong
            image.load()
    exif = image.info.get("exif")
    return orientation_of(exif) if isinstance(exif, bytes) else UPRIGHT


class _Printer:
    """Decodes files as training does and takes their prints; large ones take turns, those no server takes are reduced.

    Args:
        reduced: reduce every JPEG file.
    """

    def __init__(self, reduced: bool) -> None:
        self._reduced = reduced
        self._large = threading.Semaphore(2)
        self._huge = threading.Semaphore(1)

    def __call__(self, data: bytes, pixels: int) -> Fingerprint:
        """Return the print of a file whose header names so many pixels."""
        huge = pixels > preprocess.MAX_PIXELS
        turns = self._huge if huge else self._large if pixels > LARGE else contextlib.nullcontext()
        at_least = REDUCED if huge or self._reduced else None
        with turns:
            image = preprocess.decode(data, max_pixels=preprocess.MAX_OFFLINE_PIXELS, at_least=at_least)
            times = math.ceil(math.sqrt(image.width * image.height / LARGE))
            return fingerprint(image.reduce(times) if huge and times > 1 else image)


def _reason(error: Exception, name: str) -> str:
    """Return the part of a message that says what is wrong, without the file's path and without advice."""
    text = " ".join(str(error).split())
    found = (text.partition(f"{name}: ")[2] or text).partition(";")[0]
    return found.removeprefix("the image is ").removeprefix("the ")
