"""Every family of backbones: parity of its graphs, and its training step."""
