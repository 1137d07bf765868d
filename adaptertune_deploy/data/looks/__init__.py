"""What images look like and how they are stored: one pass over the files, and which of them are copies."""
