"""Data augmentation: layers on batches, policies on single images, mixtures of two images."""

from keras_wrn.augment.colour import ColorJitter, Lighting
from keras_wrn.augment.geometry import Cutout, RandomCropFlip

__all__ = ["ColorJitter", "Cutout", "Lighting", "RandomCropFlip"]
