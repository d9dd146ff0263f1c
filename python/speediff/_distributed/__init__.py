"""Internals of `speediff.distributed`: process groups and launchers."""
