"""Wide ResNets on ImageNet by the paper's recipe.

    python recipes/imagenet.py --dataset imagenet --depth 50 --width 2 --workdir RUN
    python recipes/imagenet.py --dataset tfds:imagenet2012 --depth 18 --width 1.5

--dataset is a folder with train/CLASS/*.JPEG and val/CLASS/*.JPEG, a path or in --data_dir, or the
data set that tensorflow_datasets made of the two archives. The recipe is that of fb.resnet.torch:
SGD with Nesterov momentum 0.9, rate 0.1 times 0.1 at epochs 31 and 61, coupled weight decay 1e-4,
batch 256 over all devices, 90 epochs; crops of 8 to 100 % of an image, colour jitter 0.4, lighting
0.1, flips; validation on the middle 224 pixels of 256. One difference: our bicubic resizing is
antialiased. On JAX, tf.data still needs TensorFlow installed.

Expected top-1 and top-5 error on the 50,000 validation images, single crop (paper, Tables 7, 8):

    WRN-18 width 1, 1.5, 2, 3    30.4/10.93 %   27.06/9.0 %   25.58/8.06 %   24.06/7.33 %
    WRN-34 width 1, 1.5, 2       26.77/8.67 %   24.5/7.58 %   23.39/7.00 %
    WRN-50-2                     21.9/6.03 %

Not measured here on ImageNet. On 4,000 training and 2,000 test images of Tiny ImageNet (200
classes, chance 99.5 %), seed 1, in 18 minutes on two shared CPU cores, November 2026: training
error 69.0 %, top-1 and top-5 test error 85.8/67.7 %, with

    --dataset tiny-imagenet-small --depth 18 --width 0.5 --image_size 64 --resize 0 --epochs 45
    --batch_size 40 --learning_rate 0.05 --schedule one_cycle --warmup_epochs 4
    --precision mixed_bfloat16
"""

from keras_wrn.cli.recipe_flags import run
from keras_wrn.paper.systems import recipe_of

RECIPE = recipe_of("imagenet", "50-2")

if __name__ == "__main__":
    run(RECIPE)
