"""The bytes of requests to values and to model input, in threads beside the event loop."""
