"""Internals of `speediff.plan` and `speediff.plots`."""
