"""Answers that are kept, so that an image that is asked about again is neither decoded nor run."""
