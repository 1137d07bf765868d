"""The folder bundle/: its manifest, what its graphs say about themselves, and changes that are whole or absent."""
