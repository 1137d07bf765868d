"""A bundle that is open for answering, in its shared and its merged form."""
