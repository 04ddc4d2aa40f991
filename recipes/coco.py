"""A RetinaNet on the features of WRN-34-2, on COCO (the paper's Table 9).

    python recipes/coco.py --data_dir ~/.keras/datasets/coco --workdir RUN
    python recipes/coco.py --annotations A.json --images A/ --val_annotations B.json --val_images B/

The paper's 35.2 mAP is of another detector (MultiPathNet with AttractioNet's proposals), on
features trained on ImageNet, and it gives no recipe. This is RetinaNet's own recipe
(arXiv:1708.02002, section 4.1: batch 16, about 12 epochs, the rate divided by 10 after 2/3 and 8/9
of them, flips), but with Adam, and gradients clipped to norm 10. Pretrained features exist for
--depth 50 --weights imagenet. WRN-34-2 starts from random values, or from your own file.

Expected mAP on COCO: not measured. WRN-34-2 memorises 6 photos in 80 steps: mAP 0.93.
"""

from pathlib import Path

from absl import flags

from keras_wrn.cli import program, recipe_flags
from keras_wrn.detection import training


def main(words: list[str]) -> str:
    """Train what the flags describe; returns a summary."""
    program.refuse_words(words)
    settings = training.Settings(**recipe_flags.values(training.Settings))
    workdir = flags.FLAGS.workdir or f"runs/coco-{settings.depth}-{settings.width:g}"
    program.start_keras()
    card = training.train(settings, Path(workdir))
    if flags.FLAGS.export:
        training.export(Path(workdir), Path(flags.FLAGS.export))
    metrics = card["metrics"]
    precision = metrics["pycocotools"]["mAP"]
    found = "not measured, as no photo has a box" if precision is None else f"{precision:.3f}"
    return (
        f"{card['name']}: mAP {found} on {metrics['n']:,} photos ({metrics['photos']}). "
        f"Everything about it is in {workdir}."
    )


if __name__ == "__main__":
    recipe_flags.define(training.Settings())
    flags.DEFINE_string("workdir", "", "run folder; default runs/coco-DEPTH-WIDTH")
    flags.DEFINE_string("export", "", "folder for a SavedModel for TF Serving")
    program.run(main, trains=True)
