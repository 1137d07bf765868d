"""The atd command: options in, one call, what a person reads out."""
