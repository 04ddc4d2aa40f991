"""From image files to what a network takes: reading, normalising, whitening, class names."""
