"""The device side: run a graph on named numpy arrays."""
