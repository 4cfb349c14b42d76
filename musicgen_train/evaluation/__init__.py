"""Metrics, the judge they listen with, and the report that shows them."""
