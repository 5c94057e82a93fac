"""The search of the source's later version: a share of zeros for each layer, and int8 or not."""
