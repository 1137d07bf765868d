"""Time graphs on the machine that runs them: atd bench and atd tune."""
