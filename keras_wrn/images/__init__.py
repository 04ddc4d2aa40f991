"""Read images, normalise or whiten them, and name their classes."""
