class SymbolTableSection:
    pass
