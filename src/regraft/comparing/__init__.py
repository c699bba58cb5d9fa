"""Several models tried on the same images, and the best chosen: which backbone, and which settings."""
