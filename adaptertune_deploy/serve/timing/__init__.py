"""When a request is too late, and waiting no longer than that."""
