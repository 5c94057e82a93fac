"""Data of study A: daily tables and labelled sequences, as windows."""
