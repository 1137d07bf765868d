"""What is known of answers: how often they are right, how sure that is, and what a task answers before it is served."""
