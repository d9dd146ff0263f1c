from toys import ToyModel

DiT_models = {"DiT-XL/2": ToyModel}
