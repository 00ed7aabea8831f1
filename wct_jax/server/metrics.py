"""Metrics in Prometheus's text format."""

import bisect
import contextlib
import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class _Histogram:
    def __init__(self) -> None:
        self.counts, self.sum = [0] * (len(_SECONDS) + 1), 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect.bisect_left(_SECONDS, seconds)] += 1
        self.sum += seconds


class Metrics:
    """Counts of requests and jobs, and values that are asked for when they are read."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        self.counted: Counter[str] = Counter()
        """Numbers of events by name, such as `cache_hits`."""
        self.values: dict[str, Callable[[], float]] = {}
        """Functions that return a value of now, by name."""
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._answers, self._paintings = _Histogram(), _Histogram()

    def request(self, scope: Mapping[str, Any], status: int, seconds: float) -> None:
        """Count a request; 0 is the status of one whose client went away."""
        # Not the path itself: there are as many as anybody likes.
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "DELETE") else "other"
        self._requests[(route, method, status)] += 1
        self._answers.add(seconds)

    def painted(self, seconds: float) -> None:
        """Count a finished painting."""
        self._paintings.add(seconds)

    def text(self) -> str:
        """All of them."""
        lines = ["# TYPE wct_requests_total counter"]
        for (route, method, status), count in sorted(self._requests.items()):
            lines.append(f'wct_requests_total{{path="{route}",method="{method}",status="{status}"}} {count}')
        for name, count in sorted(self.counted.items()):
            lines += [f"# TYPE wct_{name}_total counter", f"wct_{name}_total {count}"]
        for name, value in self.values.items():
            lines += [f"# TYPE wct_{name} gauge", f"wct_{name} {value():g}"]
        for name, histogram in (("request_seconds", self._answers), ("painting_seconds", self._paintings)):
            lines.append(f"# TYPE wct_{name} histogram")
            total = 0
            for bound, count in zip([*map(str, _SECONDS), "+Inf"], histogram.counts, strict=True):
                total += count
                lines.append(f'wct_{name}_bucket{{le="{bound}"}} {total}')
            lines += [f"wct_{name}_sum {histogram.sum:.6f}", f"wct_{name}_count {total}"]
        with contextlib.suppress(OSError):  # Only Linux tells.
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            lines += ["# TYPE process_resident_memory_bytes gauge", f"process_resident_memory_bytes {resident}"]
        return "\n".join(lines) + "\n"
