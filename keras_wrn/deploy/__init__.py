"""Export a network for serving: SavedModel, LiteRT, ONNX, OpenVINO."""
