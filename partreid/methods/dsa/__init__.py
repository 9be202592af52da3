"""DSA-reID."""
