"""The supply network twin: networks, their simulation, and what they cost."""
