"""Liner shipping networks: ports, vessel classes, weekly services and the cargo that wants to travel."""
