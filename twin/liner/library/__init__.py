"""Liner networks that ship, one YAML file each."""

from twin.liner.library.loader import load, names, resolve

__all__ = ["load", "names", "resolve"]
