"""What is in a dataset: statistics, findings in plain words, a page and tables on the terminal."""
