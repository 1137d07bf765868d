"""The datasets of torchvision that need no reader of their own."""
