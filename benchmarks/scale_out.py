"""What more GPUs would do for a network: arithmetic from one GPU's speed, not a measurement.

    python benchmarks/scale_out.py --networks 28-10,50-2
    python benchmarks/scale_out.py --networks 28-10 --total_batch 1024
    python benchmarks/scale_out.py --images_per_second 9000 --gpus 8,64 --between 25

A step of n GPUs takes the time of a GPU's own images, plus what is left of the all-reduce of the
gradients when it has run beside the backward pass. The ring all-reduce sends 2 (n - 1) / n of the
gradients' bytes over the slowest link, in 2 (n - 1) messages. docs/scale.md says what each
assumption rests on.
"""

import math
from dataclasses import dataclass

from absl import flags
from interleaved import parse_sizes, run, write

from keras_wrn.errors import InputError
from keras_wrn.paper.tables import ROWS, Row
from keras_wrn.system import markdown

IMAGES = {"cifar10": 50_000, "cifar100": 50_000, "imagenet": 1_281_167}
TRAINING = 3  # a training step has three times the multiply-adds of a forward pass
BACKWARD = 2 / 3  # of a step's time
LATENCY = 5e-6  # seconds of a message


@dataclass(frozen=True)
class Plan:
    """One number of GPUs.

    Attributes:
        step: seconds of a step.
        waiting: seconds of it that the GPUs wait for the network.
        images_per_second: of all GPUs.
        efficiency: of one GPU's speed, as a share.
        hours: of the paper's epochs.
        batch: images in a step, over all GPUs.
    """

    step: float
    waiting: float
    images_per_second: float
    efficiency: float
    hours: float
    batch: int


def planned(
    row: Row,
    gpus: int,
    *,
    speed: float,
    batch: int,
    per_node: int,
    inside: float,
    between: float,
    gradient_bytes: int,
) -> Plan:
    """Work out a step.

    Args:
        row: the network, its data set and its epochs.
        gpus: their number.
        speed: images a second of one GPU alone.
        batch: images a step of one GPU.
        per_node: GPUs in a machine.
        inside: gigabytes a second between the GPUs of a machine.
        between: gigabytes a second of a machine's network.
        gradient_bytes: of one parameter.

    Example:
        >>> (row,) = (row for row in ROWS if row.folder == "table4/28-10-cifar10")
        >>> one = planned(row, 1, speed=1000.0, batch=128, per_node=8, inside=300.0, between=50.0,
        ...               gradient_bytes=4)
        >>> one.step, one.waiting, one.efficiency
        (0.128, 0.0, 1.0)
    """
    own = batch / speed
    # A ring through all GPUs crosses each machine's network once.
    rate = (between if gpus > per_node else inside) * 1e9
    sent = row.parameters * gradient_bytes * 2 * (gpus - 1) / gpus
    reduce = sent / rate + 2 * (gpus - 1) * LATENCY if gpus > 1 else 0.0
    waiting = max(0.0, reduce - BACKWARD * own)
    step = own + waiting
    steps = math.ceil(IMAGES[row.dataset] / (batch * gpus)) * (
        row.recipe.epochs if row.recipe else 0
    )
    return Plan(step, waiting, batch * gpus / step, own / step, steps * step / 3600, batch * gpus)


def row_named(name: str) -> Row:
    """The row of a network in the paper's tables."""
    for row in ROWS:
        if row.key == name and row.recipe and row.parameters and row.dataset in IMAGES:
            return row
    raise InputError(f"--networks must be of the paper's tables, such as 28-10. Received: {name}.")


def measure() -> None:
    """Print a table for each network."""
    options, report = flags.FLAGS, []
    for name in options.networks:
        row = row_named(name)
        operations = 2 * TRAINING * row.multiply_adds * 1e6
        speed = options.images_per_second or options.tflops * 1e12 * options.share / operations
        lines = []
        for gpus in parse_sizes(options.gpus):
            batch, left_over = options.batch, 0
            if options.total_batch:
                batch, left_over = divmod(options.total_batch, gpus)
            if left_over or not batch:
                continue
            plan = planned(
                row,
                gpus,
                speed=speed,
                batch=batch,
                per_node=options.per_node,
                inside=options.inside,
                between=options.between,
                gradient_bytes=options.gradient_bytes,
            )
            times = [f"{1000 * seconds:.1f}" for seconds in (plan.step, plan.waiting)]
            speeds = [f"{plan.images_per_second:,.0f}", f"{plan.efficiency:.0%}"]
            lines.append([gpus, f"{plan.batch:,}", *times, *speeds, f"{plan.hours:.2f}"])
            report.append({"network": name, "gpus": gpus, **vars(plan)})
        size = row.parameters * options.gradient_bytes / 1e6
        print(
            f"\n{row.system} on {row.dataset}: {operations / 1e9:.1f} GFLOP an image in training, "
            f"{size:.0f} MB of gradients, {speed:,.0f} images/s on one GPU\n"
        )
        head = ["GPUs", "batch", "ms a step", "of them waiting", "images/s", "efficiency"]
        print(markdown.table([*head, f"hours for {row.recipe.epochs} epochs"], lines))  # type: ignore[union-attr]
    write({"plans": report})


if __name__ == "__main__":
    flags.DEFINE_list("networks", ["28-10", "50-2"], "of the paper's tables")
    flags.DEFINE_list("gpus", ["1", "8", "64", "512"], "their numbers")
    least = {"lower_bound": 1e-6}
    speed = "measured on one GPU; default --tflops * --share"
    flags.DEFINE_float("images_per_second", None, speed, **least)
    flags.DEFINE_float("tflops", 312.0, "the GPU's peak in bfloat16: an A100's", **least)
    flags.DEFINE_float("share", 0.35, "of the peak that training reaches", **least)
    flags.DEFINE_integer("batch", 128, "images a step of one GPU", 1)
    flags.DEFINE_integer("total_batch", None, "images a step of all GPUs, in place of --batch", 1)
    flags.DEFINE_integer("per_node", 8, "GPUs in a machine", 1)
    flags.DEFINE_float("inside", 240.0, "GB/s between the GPUs of a machine", **least)
    flags.DEFINE_float("between", 25.0, "GB/s of a machine's network", **least)
    flags.DEFINE_integer("gradient_bytes", 4, "of one parameter: float32", 1)
    run(measure)
