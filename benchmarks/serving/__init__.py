"""What benchmarks.serve measures, one file each, and the clients and processes that it takes."""
