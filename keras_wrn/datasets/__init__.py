"""Data sets as uint8 arrays: CIFAR, SVHN, digits and folders of images."""

from keras_wrn.datasets.loading import Dataset, Images, load

__all__ = ["Dataset", "Images", "load"]
