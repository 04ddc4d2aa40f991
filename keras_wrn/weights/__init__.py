"""Our published weights: cards, files, finding and loading."""
