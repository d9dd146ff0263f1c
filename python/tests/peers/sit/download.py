def find_model(name):
    raise NotImplementedError
