"""Scores and trainings as pages, charts and tables."""
