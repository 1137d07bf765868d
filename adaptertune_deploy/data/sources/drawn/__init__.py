"""Images that are drawn, not downloaded."""
