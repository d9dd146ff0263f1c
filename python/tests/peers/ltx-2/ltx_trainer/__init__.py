"""A stand-in for LTX-2's trainer."""
