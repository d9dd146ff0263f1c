"""What `speediff.plan` and `speediff.plots` are made of."""
