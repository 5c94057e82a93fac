"""A meter that reads only time, for spans that are too short for an energy meter or need none."""

from sustainable.energy.meter import Reading, SpanClock


class ClockMeter:
    """Wall and CPU time; every energy is missing, and the note says why."""

    def start(self) -> None:
        self._clock = SpanClock()

    def read(self) -> Reading:
        return Reading(**self._clock.elapsed(), meter="clock", note="timed alone: no energy was metered")

    stop = read
