"""Other people's checkpoints: read, recognise and translate their tensors."""
