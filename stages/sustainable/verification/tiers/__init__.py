"""The tiers T0 to T4 of `make verify`."""
