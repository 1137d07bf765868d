"""NVIDIA's driver, and memory, streams and graphs of its CUDA runtime."""
