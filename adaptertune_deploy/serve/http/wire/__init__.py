"""Connections: taken, bounded in all that a client may send or withhold, and closed in order."""
