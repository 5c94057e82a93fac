"""Compressors that both studies use."""


class CompressionError(RuntimeError):
    """A compressor failed, or left the model unchanged."""
