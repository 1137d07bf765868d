"""The wire over gRPC: the same service as over HTTP."""
