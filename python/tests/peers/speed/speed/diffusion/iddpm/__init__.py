"""Structure of NUS-HPC-AI-Lab/SpeeD, speed/diffusion/iddpm: the diffusion that SpeeD's derives from."""

from toys import ToyDiffusion


class IDDPM(ToyDiffusion):
    pass
