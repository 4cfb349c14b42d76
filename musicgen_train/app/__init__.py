"""The web page: generate, compare takes, fine-tune and evaluate in a browser."""
