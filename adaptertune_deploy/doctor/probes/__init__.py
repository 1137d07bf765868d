"""What is tried in a process of its own, because a library that crashes takes its process with it."""
