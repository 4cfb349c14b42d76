"""What the music is conditioned on: text, chroma, and how training drops them."""
