"""Environments, rollouts in them, and faults that do not stop other work."""
