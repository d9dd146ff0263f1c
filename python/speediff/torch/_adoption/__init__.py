"""What `speediff.torch.adopt` is made of."""
