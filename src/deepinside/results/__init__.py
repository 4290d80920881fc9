"""The folder that a run leaves, its tables and its provenance."""
