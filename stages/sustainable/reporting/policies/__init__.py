"""Study B's summaries, claims and figures."""
