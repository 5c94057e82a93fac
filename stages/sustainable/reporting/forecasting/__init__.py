"""Study A's summaries, claims and figures."""
