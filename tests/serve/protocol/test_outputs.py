from __future__ import annotations

import numpy as np

from adaptertune_deploy.serve.protocol.bytes_tensor import pack
from adaptertune_deploy.serve.protocol.outputs import output_of

LOGITS = [np.array([1, 4, 2], dtype=np.float32), np.array([3, 3, -1.5], dtype=np.float32)]
LABELS = ("a", "b", "c")


def test_logits_are_a_matrix() -> None:
    found = output_of(LOGITS, LABELS, 0)
    assert (found.datatype, found.shape, found.data()) == ("FP32", [2, 3], [1, 4, 2, 3, 3, -1.5])
    assert found.raw() == np.array(LOGITS, dtype="<f4").tobytes()


def test_classes_are_value_index_and_label_the_best_first_and_of_equal_ones_the_first() -> None:
    found = output_of(LOGITS, LABELS, 2)
    texts = ["4.000000:1:b", "2.000000:2:c", "3.000000:0:a", "3.000000:1:b"]
    assert (found.datatype, found.shape, found.data()) == ("BYTES", [2, 2], texts)
    assert found.raw() == pack(text.encode() for text in texts)
    assert output_of(LOGITS, LABELS, 9).shape == [2, 3]
