import torch as th


def dev():
    return th.device("cpu")
