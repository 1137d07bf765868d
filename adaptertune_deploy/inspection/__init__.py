"""What a file or folder of this project holds, read without running anything of it."""
