"""Compressors of models, and the accounting of what they changed."""


class CompressionError(RuntimeError):
    """A compressor was asked to change a model and did not, or could not."""
