"""Servers in processes of their own: `atd serve`, its engine idle, NVIDIA's tritonserver; and what a process takes."""
