from speed.diffusion.iddpm import IDDPM


class MASK_IDDPM(IDDPM):
    pass
