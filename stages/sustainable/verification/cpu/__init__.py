"""`make test-cpu`: compare what several CPUs compute, bit by bit."""
