"""HCGA."""
