"""TensorRT and TensorRT-RTX: plans that are built on the machine that runs them."""
