"""Real networks and real data as network files; the command is ``python -m twin.ingest``."""
