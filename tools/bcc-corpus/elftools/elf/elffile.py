"""What a tool asks of an executable's symbols."""


class ELFFile:
    def __init__(self, *_):
        pass

    def __getattr__(self, name):
        return lambda *_, **__: None
