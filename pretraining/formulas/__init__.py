"""Image families: every file holds one kind of formula that can draw itself."""
