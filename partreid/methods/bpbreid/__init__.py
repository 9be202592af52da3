"""BPBreID."""
