"""Halves: a method that lives outside the package, for the tests of what can be added."""
