"""The trainings of one run, handed out to the processes that take part in them."""
