"""The time of `assess` against that of the passes over its images.

    python benchmarks/assess.py saved_models/wrn-16-4-cifar10

Times in turn: `evaluate` on the test images; the same followed by one pass over each other set; and
`assess` on all of them, its page included, without corruptions and attacks, which have passes of
their own. What `assess` takes above the passes is the price of its figures.
"""

import dataclasses
import tempfile
from pathlib import Path

from absl import flags
from interleaved import company, interleave, run, spread, with_range, write

from keras_wrn.errors import InputError
from keras_wrn.system import markdown

EVALUATE, PASSES, ASSESS = "evaluate", "evaluate, and one pass over the other sets", "assess"


def measure(arguments: list[str]) -> None:
    """Time the three in turn and print a table."""
    if len(arguments) != 1:
        raise InputError(f"One run folder is needed. Received: {' '.join(arguments) or 'none'}.")
    from keras_wrn.inference.classifier import class_probabilities
    from keras_wrn.inference.evaluation import evaluate
    from keras_wrn.inference.own_images import images_of
    from keras_wrn.inference.trained import load_trained
    from keras_wrn.insight.assessment import assess
    from keras_wrn.insight.out_sets import load_out_sets

    options = flags.FLAGS
    trained = load_trained(arguments[0])
    data = images_of(trained, "test", most=options.images or None).test
    sets = load_out_sets(options.out, trained.preprocessing, len(data.labels))

    def passes() -> None:
        evaluate(trained.model, *data, trained.preprocessing)
        for images in sets.values():
            class_probabilities(trained.model, images, trained.preprocessing)

    def assessment() -> None:
        with tempfile.TemporaryDirectory() as folder:
            assess(trained, data, out=sets, html=Path(folder) / "page.html")

    variants = {
        EVALUATE: lambda: evaluate(trained.model, *data, trained.preprocessing),
        PASSES: passes,
        ASSESS: assessment,
    }
    timings = interleave(variants, options.rounds)
    rows = [
        [
            name,
            with_range(spread(timings.seconds[name]), ".1f"),
            with_range(timings.ratio(PASSES, name)),
            with_range(timings.ratio(PASSES, name, "cpu_seconds")),
        ]
        for name in variants
    ]
    counts = {name: len(images) for name, images in sets.items()}
    others = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    print(f"{trained.card['name']}, {len(data.labels):,} test images; {others}; ", end="")
    print(f"n = {options.rounds} rounds\n")
    print(markdown.table(["", "seconds", "against the passes", "in CPU-seconds"], rows))
    print(f"\n{company([timings])}")
    write({"images": len(data.labels), "out": counts, **dataclasses.asdict(timings)})


if __name__ == "__main__":
    flags.DEFINE_integer("images", 0, "maximum number of test images; 0: no limit", lower_bound=0)
    flags.DEFINE_list("out", ["noise"], "other sets, as `keras-wrn assess --out` takes them")
    flags.DEFINE_integer("rounds", 5, "timings of each", lower_bound=1)
    run(measure, takes_arguments=True)
