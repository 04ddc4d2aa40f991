"""What a network is worth beside its error: calibration, robustness, explanations, an audit."""
