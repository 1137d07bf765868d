"""One file a subject of the doctor."""
