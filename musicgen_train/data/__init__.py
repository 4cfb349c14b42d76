"""Audio files, shards of segments, and exact, resumable batches of them."""
