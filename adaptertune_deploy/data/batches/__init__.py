"""Batches of images: which samples, augmented or as served, in which order."""
