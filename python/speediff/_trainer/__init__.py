"""What `speediff.Trainer` is made of."""
