"""Programs as formulas: a jaxpr read into SymPy."""
