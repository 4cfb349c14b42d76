"""Everything that happens before training: the demo corpus, shards and tokens."""
