"""The sampler that the trainer has."""


def build(args, total_steps):
    raise NotImplementedError
