"""What a server gives: images a second, latency, memory, swaps; NVIDIA's tritonserver beside it."""
