"""Networks that ship, one YAML file each; a family file carries parameters and its published values."""

from twin.library.loader import load, names, parameters, resolve

__all__ = ["load", "names", "parameters", "resolve"]
