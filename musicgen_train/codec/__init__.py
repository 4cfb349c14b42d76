"""EnCodec: a SEANet autoencoder with a residual vector quantizer; waveform in, codes out."""
