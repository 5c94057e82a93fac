"""Energy meters, and the ways to measure with them."""
