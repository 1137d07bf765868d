"""Turn a backbone and its tasks into ONNX graphs and verify them."""
