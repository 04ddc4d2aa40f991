"""Train a recipe through `model.fit` into a run folder."""
