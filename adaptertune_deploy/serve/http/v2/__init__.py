"""Open Inference Protocol v2 as HTTP carries it, with the extensions of Triton."""
