"""Read a run's TensorBoard logs."""

import pytest


def board_logs(folder):
    """By part and tag ("train/epoch_loss"), the numbers by step; of other kinds the events."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from tensorboard.util.tensor_util import make_ndarray

    found = {}
    for part in sorted(path for path in (folder / "logs").iterdir() if path.is_dir()):
        events = accumulator.EventAccumulator(str(part))
        events.Reload()
        for tag in events.Tags()["tensors"]:
            kind = events.SummaryMetadata(tag).plugin_data.plugin_name
            found[f"{part.name}/{tag}"] = {
                event.step: (
                    float(make_ndarray(event.tensor_proto)) if kind == "scalars" else event
                )
                for event in events.Tensors(tag)
            }
    return found
