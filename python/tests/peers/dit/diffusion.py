from toys import ToyDiffusion


def create_diffusion(timestep_respacing):
    return ToyDiffusion()
