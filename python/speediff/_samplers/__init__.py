"""Internals of both samplers: prefetched draws, recipes, saved state."""
