"""One room for each thing that is measured, one command a table; peers side by side in the same run."""
