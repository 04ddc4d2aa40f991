"""Wide ResNets on CIFAR-10 and CIFAR-100 by the paper's recipe.

    python recipes/cifar.py --dataset cifar10 --depth 28 --width 10 --workdir RUN

SGD with Nesterov momentum 0.9, rate 0.1 times 0.2 at epochs 60, 120 and 160, coupled weight
decay 5e-4, batch 128, 200 epochs, mean/std normalisation, reflect-pad-4 crops and flips (paper,
section 3; --dropout 0.3 for Table 6). With fewer --epochs, the drops keep their share of the run.
--precision mixed_bfloat16 is faster on CPUs with bfloat16 instructions (docs/performance.md).

Expected test error, median of 5 runs on a GPU (paper, Table 5): WRN-28-10 4.00 % and 19.25 %,
WRN-40-4 4.53 % and 21.18 %, WRN-16-8 4.27 % and 20.43 % on CIFAR-10 and CIFAR-100.
"""

from keras_wrn.cli.recipe_flags import run
from keras_wrn.training.recipe import Recipe

if __name__ == "__main__":
    run(Recipe(dataset="cifar10", depth=28, width=10))
