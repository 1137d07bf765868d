"""OpenVINO: compiled models on CPUs."""
