"""The gallery and its model as a service: JSON for programs, a page for people."""
