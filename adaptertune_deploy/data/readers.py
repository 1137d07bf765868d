"""What every reader of images has to offer, made from the one thing that it knows: encoded files, or pixels."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod

from PIL import Image

from adaptertune_deploy.core.errors import DatasetError, ImageError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.core.storage import files


class EncodedReader(ABC):
    """Images that lie somewhere as the bytes of a file; a data.samples.Reader by its `encoded` alone."""

    @abstractmethod
    def encoded(self, name: str) -> tuple[bytes, str]:
        """Return the image as the bytes of a file, and that file's suffix in lower case (".jpg")."""

    def image(self, name: str, orientation: str = "exif", at_least: int | None = None) -> Image.Image:
        """Return the decoded RGB image; see data.samples.Reader."""
        data, _ = self.encoded(name)
        try:
            return preprocess.decode(data, orientation, preprocess.MAX_OFFLINE_PIXELS, at_least)
        except ImageError as error:
            raise _error(name, error) from None

    def size(self, name: str) -> tuple[int, int]:
        """Return (width, height) from the file's header."""
        try:
            return preprocess.size_of(self.encoded(name)[0])
        except ImageError as error:
            raise _error(name, error) from None

    def sha256(self, name: str) -> str:
        """Return the hash of the file's bytes."""
        return files.sha256_bytes(self.encoded(name)[0])


class DrawnReader(ABC):
    """Images that are no files which a server would take; a data.samples.Reader by its `drawn` alone."""

    @abstractmethod
    def drawn(self, name: str) -> Image.Image:
        """Return the RGB image.

        Raises:
            DatasetError: it is absent or damaged.
        """

    def image(self, name: str, orientation: str = "exif", at_least: int | None = None) -> Image.Image:
        """Return the RGB image; it stands upright and is read whole."""
        return self.drawn(name)

    def size(self, name: str) -> tuple[int, int]:
        """Return (width, height)."""
        return self.drawn(name).size

    def encoded(self, name: str) -> tuple[bytes, str]:
        """Return the image as PNG, which keeps every pixel."""
        stream = io.BytesIO()
        self.drawn(name).save(stream, format="PNG")
        return stream.getvalue(), ".png"

    def sha256(self, name: str) -> str:
        """Return the hash of the size and the pixels."""
        image = self.drawn(name)
        return files.sha256_bytes(repr(image.size).encode() + image.tobytes())


def _error(name: str, error: ImageError) -> DatasetError:
    found = str(error).partition(";")[0]  # what follows is advice for a client
    return DatasetError(f"{name}: {found}; replace or remove this image")
