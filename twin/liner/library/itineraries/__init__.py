"""Candidate itineraries of the liner networks that ship, one YAML file each."""
