"""Rewrites of a traced graph, one a file: each changes an onnx_ir model in place and keeps its answers."""
