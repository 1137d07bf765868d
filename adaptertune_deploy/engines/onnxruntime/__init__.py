"""ONNX Runtime: sessions on CPUs and NVIDIA GPUs, and what is derived for them when a graph is opened."""
