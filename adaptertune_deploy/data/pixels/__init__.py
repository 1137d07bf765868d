"""Decoded images: every view is made once, in parallel, bounded in memory, and kept in the cache on the disk."""
