"""Models that hear a clip: embeddings and labels for the metrics."""
