"""The command line, and what all programs share."""
