"""ONNX files read, checked and rewritten on a device, without the onnx package."""
