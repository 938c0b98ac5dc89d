"""Exact or bounding values to judge a policy by."""
