"""A stand-in for musubi-tuner."""
