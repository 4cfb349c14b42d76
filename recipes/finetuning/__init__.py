"""From a folder of songs to a fine-tuned model, in stages that are small files here."""
