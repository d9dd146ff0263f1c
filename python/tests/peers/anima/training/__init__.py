"""A stand-in for AnimaLoraStudio's training."""
