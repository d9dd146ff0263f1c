"""Internals of `speediff.torch.adopt`."""
