"""Servers under overload and attack."""
