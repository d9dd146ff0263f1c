from toys import MixedPrecisionTrainer

__all__ = ["MixedPrecisionTrainer"]
