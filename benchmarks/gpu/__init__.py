"""A machine with an NVIDIA GPU, measured in one command."""
