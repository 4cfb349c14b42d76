"""A blind listening test that people take in the browser: python -m …listening_test --help."""
