"""MagnifierNet."""
