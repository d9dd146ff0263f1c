"""Structure of NVlabs/edm, dnnlib: objects are made by the names of their classes."""

import importlib
from types import SimpleNamespace


class EasyDict(dict):
    def __getattr__(self, name):
        return self[name]

    def __setattr__(self, name, value):
        self[name] = value


def _construct(*args, class_name, **kwargs):
    module, name = class_name.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)(*args, **kwargs)


util = SimpleNamespace(construct_class_by_name=_construct)
