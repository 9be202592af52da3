"""Training: one readable loop, its learning rate, its checkpoints and its journal."""
