"""The comparison of searchers on the table of measured candidates."""
