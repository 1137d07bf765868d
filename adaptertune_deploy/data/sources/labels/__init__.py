"""Names of classes that the datasets themselves lack."""
