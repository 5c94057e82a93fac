"""The page `report.html`: its answer, its claims, and the data of its interactive parts."""
