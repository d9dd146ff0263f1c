"""Shared helpers: argument checks, optional packages, files, progress."""
