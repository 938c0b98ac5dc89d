"""The command line and the studies."""
