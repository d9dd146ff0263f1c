def setup_logging():
    pass


def add_logging_arguments(parser):
    pass
