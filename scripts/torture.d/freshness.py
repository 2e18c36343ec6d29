"""How old the newest event is that PostgreSQL shows, several times a second, for every partition."""
import threading
import time

from postgres import PostgresError, Watcher

QUERY = "SELECT partition, extract(epoch FROM watermark) FROM tidemark.partition WHERE watermark IS NOT NULL ORDER BY 1"


def quantile(sorted_values, share):
    return sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))] if sorted_values else None


def summary(values):
    """p50, p99 and max of ages, seconds."""
    ordered = sorted(values)
    return {"samples": len(ordered), "p50": quantile(ordered, 0.5), "p99": quantile(ordered, 0.99), "max": ordered[-1] if ordered else None}


class Sampler:
    """Events bear the time at which they were made, so that the age of a partition's newest visible event is now minus its
    watermark. While PostgreSQL is away nothing newer is visible than before: the last watermarks age on."""
    PAUSE = 0.2

    def __init__(self, server, database):
        self.watcher = Watcher(server, database)
        self.samples = []  # (monotonic time, [age of each partition])
        self.began, self.marks, self.worst = time.time(), {}, (0.0, None, None)
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.is_over.wait(self.PAUSE):
            try:
                self.marks = {int(p): float(w) for p, w in self.watcher.query(QUERY)}
            except PostgresError:
                pass
            now = time.time()
            if not self.marks:
                # Nothing is visible yet: as old as the first event.
                self.samples.append((time.monotonic(), [now - self.began]))
            else:
                self.samples.append((time.monotonic(), [now - w for w in self.marks.values()]))
                partition = min(self.marks, key=self.marks.get)
                self.worst = max(self.worst, (now - self.marks[partition], partition, time.strftime("%H:%M:%S")))

    def between(self, begin, end):
        return [age for at, ages in self.samples if begin <= at < end for age in ages]

    def stalest(self):
        """Age of the partition that is furthest behind, now; None: unknown."""
        return max(self.samples[-1][1]) if self.samples else None

    def close(self):
        self.is_over.set()
        self.thread.join()
        self.watcher.close()
