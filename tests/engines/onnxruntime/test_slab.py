"""engines.onnxruntime.slab: a run reads all slots, or one, where they lie."""

from __future__ import annotations

import numpy as np

from adaptertune_deploy.engines.engine import TensorInfo
from adaptertune_deploy.engines.onnxruntime.library import ort
from adaptertune_deploy.engines.onnxruntime.slab import OrtSlab
from tests.engines.onnx_files import lookup


def test_a_run_reads_what_was_written_after_it_was_bound() -> None:
    session = ort.InferenceSession(lookup(), providers=["CPUExecutionProvider"])
    inputs = {"table": TensorInfo("table", np.dtype(np.float32), ("T", 3))}
    slab = OrtSlab({"table": (3,)}, inputs, 4, ort.OrtValue.ortvalue_from_numpy)
    for slot, index in ((None, 2), (2, 0)):
        binding = session.io_binding()
        slab.bind(binding, slot)
        binding.bind_cpu_input("index", np.array([index]))
        binding.bind_output("rows", "cpu")
        for number in (1, 2):
            slab.write(2, {"table": np.full(3, number)})
            session.run_with_iobinding(binding)
            assert binding.copy_outputs_to_cpu()[0].tolist() == [[number] * 3]
