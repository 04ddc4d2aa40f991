"""Table 9: a RetinaNet on a Wide ResNet, trained on COCO."""
