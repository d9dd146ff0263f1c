"""Training data: reading and checking images and latents."""
