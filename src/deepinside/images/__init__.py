"""Photos: image files of every common kind, decoded as viewers show them and batched for a network."""
