"""Write a trained network for serving: SavedModel, LiteRT, ONNX, OpenVINO."""
