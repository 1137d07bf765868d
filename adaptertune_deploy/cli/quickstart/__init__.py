"""atd quickstart: the whole path on small data, in a folder of its own."""
