"""Answer images for many tasks from one backbone over HTTP."""
