"""The demo corpus: procedurally composed pieces, rendered with General MIDI instruments."""
