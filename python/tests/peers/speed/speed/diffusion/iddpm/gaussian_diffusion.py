from toys import ModelMeanType

__all__ = ["ModelMeanType"]
