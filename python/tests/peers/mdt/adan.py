from torch.optim import AdamW as Adan

__all__ = ["Adan"]
