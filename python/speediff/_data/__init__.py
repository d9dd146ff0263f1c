"""What a run trains on: reading and checking images and latents."""
