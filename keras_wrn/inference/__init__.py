"""Use a trained network: load, evaluate, predict."""
