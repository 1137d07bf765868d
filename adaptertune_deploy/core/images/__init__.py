"""From the bytes of an image file to what the network takes, the same in training and in service; no torch."""
