"""Data augmentation: layers on uint8 batches, and policies on single images."""

from keras_wrn.augment.colour import ColorJitter, Lighting
from keras_wrn.augment.geometry import Cutout, RandomCropFlip

__all__ = ["ColorJitter", "Cutout", "Lighting", "RandomCropFlip"]
