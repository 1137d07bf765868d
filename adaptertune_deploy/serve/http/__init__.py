"""The wire: what a client sees of a service, over HTTP."""
