"""Python reads this at its start: it sets the clock of the process, as `time.time` tells it, ahead by CLOCK_AHEAD."""

import os
import time

_AHEAD = int(os.environ["CLOCK_AHEAD"])
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + _AHEAD
time.time_ns = lambda: _time_ns() + _AHEAD * 10**9
