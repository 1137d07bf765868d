"""What this machine has, what each engine really does on it, and what to mend."""
