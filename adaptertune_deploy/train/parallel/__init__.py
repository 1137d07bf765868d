"""One training in several processes, as torchrun starts them: the first does what one process does, the others help."""
