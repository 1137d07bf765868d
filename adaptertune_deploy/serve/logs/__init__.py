"""What a server writes about itself, for people and for machines that collect it."""
