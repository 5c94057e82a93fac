"""A meter of time alone, for spans too short for a meter of energy, or about which energy says nothing."""

import time

from sustainable.energy.meter import Reading


class ClockMeter:
    """Wall and CPU time; every energy is missing, and the note says why."""

    def start(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> Reading:
        return Reading(
            wall_time_s=time.perf_counter() - self._wall,
            cpu_time_s=time.process_time() - self._cpu,
            cpu_j=None,
            ram_j=None,
            gpu_j=None,
            cpu_evidence=None,
            ram_evidence=None,
            gpu_evidence=None,
            meter="clock",
            note="timed alone: no energy was metered",
        )

    stop = read
