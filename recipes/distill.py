"""A small Wide ResNet that learns from a large one: knowledge distillation on CIFAR.

    python recipes/distill.py --teacher runs/cifar100-WRN-40-2-1 --depth 16 --width 2
    python recipes/distill.py --teacher runs/cifar100-WRN-40-2-1 --depth 40 --width 1

The standard pairs in the literature are WRN-40-2 to WRN-16-2 and WRN-40-2 to WRN-40-1. The teacher
is the folder of a finished run of recipes/cifar.py, or of published weights, on the same data set.
The loss is 0.1 of the cross entropy with the labels and 0.9 of the divergence from the teacher at
temperature 4 (Hinton et al. 2015). Shares and schedule are those of Tian et al. 2020,
arXiv:1910.10699: 240 epochs, rate 0.05 times 0.1 at epochs 150, 180 and 210, batch 64.

Test error published for CIFAR-100 by Tian et al., Table 1: teacher WRN-40-2 24.39 %; WRN-16-2
26.74 % alone and 25.08 % distilled; WRN-40-1 28.02 % alone and 26.46 % distilled.
"""

from keras_wrn.cli.recipe_flags import run
from keras_wrn.training.recipe import Recipe

if __name__ == "__main__":
    run(
        Recipe(
            dataset="cifar100",
            depth=16,
            width=2,
            epochs=240,
            batch_size=64,
            learning_rate=0.05,
            drop_epochs=(151, 181, 211),
            drop_factor=0.1,
            reset_velocity=False,
            nesterov=False,
            teacher="runs/cifar100-WRN-40-2-1",
        )
    )
