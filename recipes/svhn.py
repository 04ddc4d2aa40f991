"""Wide ResNets on SVHN by the paper's recipe.

    python recipes/svhn.py --depth 16 --width 8 --dropout 0.4 --workdir RUN

The 604,388 train and extra images, divided by 255 and not augmented. SGD with Nesterov momentum
0.9, rate 0.01 times 0.1 at epochs 80 and 120, coupled weight decay 5e-4, batch 128, 160 epochs,
dropout 0.4 (paper, section 3; the authors' scripts/train_svhn.sh). With fewer --epochs, the drops
keep their share of the run. --noextra trains on the 73,257 train images alone. The files
train_32x32.mat, extra_32x32.mat and test_32x32.mat are read from --data_dir or downloaded.

Expected test error, one run on a GPU (paper, Table 6 and text): WRN-16-8 1.54 %, and 1.81 % without
dropout; WRN-16-4 1.64 % and 1.85 %.
"""

from keras_wrn.cli.recipe_flags import run
from keras_wrn.paper.systems import DROPOUT, recipe_of

if __name__ == "__main__":
    run(recipe_of("svhn", "16-8", dropout=DROPOUT["svhn"]))
