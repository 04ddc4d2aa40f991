"""What a Wide ResNet is, without building one: blocks, names, recognition."""
