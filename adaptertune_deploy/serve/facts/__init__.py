"""What a server knows of its tasks beyond what answers need: for its page and its index."""
