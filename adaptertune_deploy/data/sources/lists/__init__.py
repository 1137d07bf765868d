"""Images and labels that a list names: CSV, TSV or Parquet."""
