"""Stand-in for an image classifier: logits = [bytes in the element, its first byte, 0]."""

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests: list[Any]) -> list[Any]:
        responses = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()
            y = np.array([[len(b), b[0] if b else 0, 0] for b in x.ravel()], np.float32)
            responses.append(pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor("logits", y)]))
        return responses
