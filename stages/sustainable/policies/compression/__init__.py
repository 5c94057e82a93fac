"""Compression of policies: variants, runtimes, and the counts of what changed."""
