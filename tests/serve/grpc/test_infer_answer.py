from __future__ import annotations

import numpy as np

from adaptertune_deploy.serve.grpc.infer_answer import answer
from adaptertune_deploy.serve.protocol.bytes_tensor import pack
from adaptertune_deploy.serve.protocol.inference import InferRequest
from adaptertune_deploy.serve.protocol.models import image_model
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from tests.builders import make_task

PETS = image_model(ServedTask(0, make_task("pets", classes=3), 2))
LOGITS = [np.array([1, 4, 2], dtype=np.float32)]


def test_logits_and_classes_are_binary_tensors() -> None:
    plain = answer(InferRequest((b"",), "7"), PETS, LOGITS)
    assert (plain.model_name, plain.model_version, plain.id) == ("pets", "2", "7")
    (output,) = plain.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("logits", "FP32", [1, 3])
    assert list(plain.raw_output_contents) == [LOGITS[0].tobytes()]
    classes = answer(InferRequest((b"",), classification=2), PETS, LOGITS)
    assert (classes.outputs[0].datatype, list(classes.outputs[0].shape)) == ("BYTES", [1, 2])
    assert list(classes.raw_output_contents) == [pack([b"4.000000:1:pets 1", b"2.000000:2:pets 2"])]
