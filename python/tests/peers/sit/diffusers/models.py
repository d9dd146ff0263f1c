from toys import AutoencoderKL

__all__ = ["AutoencoderKL"]
