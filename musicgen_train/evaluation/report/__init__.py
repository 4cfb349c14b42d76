"""The HTML report, its pictures, and tables on the terminal."""
