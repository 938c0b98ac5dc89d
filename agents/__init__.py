"""Every decision maker, behind one protocol: learners, classical policies, oracles, and exported bundles."""
