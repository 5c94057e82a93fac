"""`make tamper`: forge copies of the artifact and count what verification catches."""
