"""Checkpoints of PyTorch programs, read for `speediff.torch.trainer_from`."""
