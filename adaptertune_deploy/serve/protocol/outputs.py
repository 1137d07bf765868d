"""What a model answers: logits, or the best classes as "value:index:label".

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_classification.md
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.serve.answers import best
from adaptertune_deploy.serve.protocol import bytes_tensor
from adaptertune_deploy.serve.protocol.models import BYTES, FP32


@dataclass(frozen=True, eq=False)
class Logits:
    """Float32 [rows, classes]."""

    values: Array
    datatype = FP32

    @property
    def shape(self) -> list[int]:
        """The tensor's shape."""
        return list(self.values.shape)

    def data(self) -> list[float]:
        """Return the values, row by row."""
        values: list[float] = self.values.ravel().tolist()
        return values

    def raw(self) -> bytes:
        """Return the tensor in binary form."""
        return self.values.astype("<f4", copy=False).tobytes()


@dataclass(frozen=True)
class Classes:
    """So many texts a row, the largest logit first."""

    texts: Sequence[str]
    rows: int
    datatype = BYTES

    @property
    def shape(self) -> list[int]:
        """The tensor's shape."""
        return [self.rows, len(self.texts) // self.rows]

    def data(self) -> list[str]:
        """Return the texts, row by row."""
        return list(self.texts)

    def raw(self) -> bytes:
        """Return the tensor in binary form."""
        return bytes_tensor.pack(text.encode() for text in self.texts)


Output: TypeAlias = "Logits | Classes"


def output_of(logits: Sequence[Array], labels: Sequence[str], classification: int) -> Output:
    """Return a model's output.

    Args:
        logits: float32 [C] for each row, of one row at least.
        labels: of the C classes.
        classification: classes a row, no more than there are; 0 for plain logits.
    """
    if classification == 0:
        return Logits(np.stack(logits))
    count = min(classification, len(labels))
    texts = [f"{row[index]:f}:{index}:{labels[index]}" for row in logits for index in best(row, count)]
    return Classes(texts, len(logits))
