from toys import AutoencoderKL, ToyModel

__all__ = ["AutoencoderKL", "DiT_models"]
DiT_models = {"DiT-XL/2": ToyModel}
