from toys import ToyModel

SiT_models = {"SiT-XL/2": lambda: ToyModel(learn_sigma=False)}
