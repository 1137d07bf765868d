"""What a person asks of a training: the recipe, from the command line or a file, and where its result goes."""
