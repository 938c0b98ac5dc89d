"""Scenarios that ship: what may happen to any liner network."""
