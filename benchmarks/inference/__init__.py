"""Graphs on ONNX Runtime's CPU provider: what they take, what tasks share, what a bundle costs to make."""
