"""The base of an extension."""


class Extension:
    name: str = None
    uid: str = None

    @classmethod
    def get_process(cls):
        raise NotImplementedError
