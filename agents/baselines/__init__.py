"""Classical policies, one a file, and the tuning of their parameters by simulation."""
