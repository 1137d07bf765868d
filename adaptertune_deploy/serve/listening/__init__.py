"""Where a server listens, and who may change its tasks there."""
