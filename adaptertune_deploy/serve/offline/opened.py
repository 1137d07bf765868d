"""A bundle that is open for answering from Python, without a server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from adaptertune_deploy.core.errors import ImageError, UsageError
from adaptertune_deploy.core.images.image_file import read_image, read_stream
from adaptertune_deploy.core.spec import TaskSpec
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.serve.answers import Answer
from adaptertune_deploy.serve.offline import classify, embed
from adaptertune_deploy.serve.offline.batches import AnyImage
from adaptertune_deploy.serve.sessions.session import Session

# A file's path, its bytes, or the file itself, open in binary; an image of Pillow's; or uint8 pixels: [H, W, 3] in the
# order red, green, blue, or [H, W].
ImageLike: TypeAlias = "str | Path | bytes | bytearray | memoryview | BinaryIO | Image.Image | npt.NDArray[np.uint8]"
ONE_IMAGE = (str, Path, bytes, bytearray, memoryview, Image.Image, np.ndarray)


class OpenBundle:
    """Answers images by the code that serves; any number of threads may ask. Close it, or use it in a `with` block.

    Attributes:
        tasks: what it answers, with their labels.
        form: "shared" or "merged".
        engine: what runs it.
    """

    def __init__(self, session: Session) -> None:
        """Take an open session, and close it with this."""
        self._session = session
        self.tasks: tuple[TaskSpec, ...] = tuple(session.tasks.values())
        self.form, self.engine = session.form, session.engine

    def predict(
        self, images: ImageLike | Sequence[ImageLike], tasks: str | Iterable[str] | None = None, top_k: int = 5
    ) -> list[Answer]:
        """Return one answer for each image and task, image by image.

        Args:
            images: one image or several: paths, bytes of files, open files, images of Pillow's, or uint8 arrays
                [H, W, 3] or [H, W]. A path is decoded as training decoded it.
            tasks: a name, or several; None for all.
            top_k: labels an answer, the most probable first; a task with fewer gives all.

        Raises:
            UsageError: an unknown task, no label asked for, or a file that can't be read.
            ImageError: something that is no image.
            EngineError: the engine failed or gave NaN.
        """
        given, names = _read(images)
        return classify.classify(self._session, given, _names(tasks), top_k, names)

    def features(
        self, images: ImageLike | Sequence[ImageLike], tasks: str | Iterable[str] | None = None
    ) -> dict[str, Array]:
        """Return what each task's head is given: task -> float32 [images, F].

        Args:
            images: see predict.
            tasks: see predict.

        Raises:
            UsageError: the bundle is open in its merged form, whose graphs give answers only; and see predict.
            ImageError, EngineError: see predict.
        """
        given, names = _read(images)
        return embed.embed(self._session, given, _names(tasks), names)

    def close(self) -> None:
        """Release the engine."""
        self._session.close()

    def __enter__(self) -> OpenBundle:
        """Return itself; the end of the block closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


def _names(tasks: str | Iterable[str] | None) -> Sequence[str] | None:
    return [tasks] if isinstance(tasks, str) else None if tasks is None else list(tasks)


def _read(images: Any) -> tuple[list[AnyImage], list[str]]:
    """Return images as a session takes them, and what messages call them."""
    alone = isinstance(images, ONE_IMAGE) or hasattr(images, "read") or not isinstance(images, Iterable)
    given = [images] if alone else list(images)
    if not given:
        raise UsageError("no image was given; give at least one")
    places = (f"image {place + 1} of {len(given)}" for place in range(len(given)))
    names = [
        str(image) if isinstance(image, (str, Path)) else place for image, place in zip(given, places, strict=True)
    ]
    return [_load(image, name) for image, name in zip(given, names, strict=True)], names


def _load(image: Any, name: str) -> AnyImage:
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    if isinstance(image, (str, Path)):
        try:
            return read_image(Path(image))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"{name}: can't be read ({reason}); give an image file") from None
    if hasattr(image, "read"):
        return _content(image, name)
    if not isinstance(image, np.ndarray):
        raise ImageError(
            f"{name} is a {type(image).__name__}, expected a path, bytes, an image of Pillow's or an array"
        )
    if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)) or not image.size:
        raise ImageError(f"{name} is an array {image.dtype} {list(image.shape)}, expected uint8 [H, W, 3] or [H, W]")
    return Image.fromarray(np.ascontiguousarray(image))


def _content(stream: Any, name: str) -> bytes:
    try:
        data = read_stream(stream, name)
    except (OSError, ValueError) as error:
        raise ImageError(f"{name}: can't be read ({error}); give a file that is open in binary") from None
    if not isinstance(data, bytes):
        raise ImageError(f"{name} gives {type(data).__name__}, expected bytes; open the file in binary: 'rb'")
    return data
