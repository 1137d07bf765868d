"""What a network answers, in training and long after it."""
