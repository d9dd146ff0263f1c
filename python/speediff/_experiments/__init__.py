"""Experiments: training runs by a plan, their measurements, and what they say.

The library never imports this package.
"""
