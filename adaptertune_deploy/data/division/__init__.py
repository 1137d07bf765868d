"""What trains, what the final test sees, and what each fold holds out."""
