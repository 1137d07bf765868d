"""One command a table; peers side by side in the same run."""
