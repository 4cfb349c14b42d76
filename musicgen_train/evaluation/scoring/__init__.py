"""Measurements of an evaluation, each beside the two ends of its scale; one family a file."""
