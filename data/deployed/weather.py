"""Forecast wet days in Seattle by the recommended rule, persistence: tomorrow is like today."""

from pathlib import Path

import pandas as pd

days = pd.read_csv(Path(__file__).parent.parent / "raw/seattle-weather.csv", parse_dates=["date"])
wet = days["weather"].isin(["rain", "drizzle"])
test = (days["date"] > "2014-12-31") & (days["date"].shift(30) > "2014-12-31")  # as scored: 30 days before it
forecast = wet.shift(1)[test].astype(bool)
print("first forecasts:", *("wet" if day else "dry" for day in forecast[:10]))
print(f"correct: {(forecast == wet[test]).sum()} of {len(forecast)}")
