"""Compression of policies: variants, runtimes, parameter counts and sizes."""
