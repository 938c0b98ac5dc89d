"""Hydra configurations, read by ``experiments`` alone."""
