"""One process: nothing is printed, and nobody waits."""


def get_world_size():
    return 1


def print0(*args):
    pass
