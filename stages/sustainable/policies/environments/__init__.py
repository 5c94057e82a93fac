"""Environments, episodes in them, and faults that leave other work unharmed."""
