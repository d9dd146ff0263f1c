"""Structure of NUS-HPC-AI-Lab/SpeeD, speed/diffusion/iddpm: the diffusion that SpeeD's derives from, respaced."""

from toys import ToyDiffusion


class IDDPM(ToyDiffusion):
    def __init__(self, timestep_respacing):
        super().__init__(int(timestep_respacing or 1000))
