"""Energy meters, the choice between them, and the evidence class of each reading."""
