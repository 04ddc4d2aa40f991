"""Make published weights out of a finished run."""
