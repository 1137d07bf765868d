"""The tasks of a shared graph as slots that an engine holds: written in place, run in any mixture."""
