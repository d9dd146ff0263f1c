"""Reads checkpoints of PyTorch programs for `speediff.torch.trainer_from`."""
