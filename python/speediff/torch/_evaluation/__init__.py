"""Quality of generated images: feature extractors, and torch-fidelity's metrics on their features."""
