"""Knowledge of Wide ResNets without building one: blocks, names, recognition."""
