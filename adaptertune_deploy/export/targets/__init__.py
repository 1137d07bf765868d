"""What leaves beside a bundle for other programs to serve."""
