"""What a run shows: speed, memory, progress, and music to listen to."""
