"""A bounded queue with one worker: what must not run twice at once waits here, and too much of it is refused."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from ..errors import Busy

Job = Callable[[], None]


class Lane:
    """Runs jobs one after the other, in the order they came, on a thread of its own.

    A job may not raise: whoever submits it answers for its errors.
    """

    def __init__(self, name: str, limit: int) -> None:
        self.name, self.limit = name, limit
        self._jobs: deque[Job] = deque()
        self._running = False
        self._stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"pocketllama-{name}", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue `job`; Busy if `limit` jobs are waiting already."""
        with self._changed:
            if self._stopped or len(self._jobs) >= self.limit:
                raise Busy(
                    f"The queue is full: {len(self._jobs)} requests are waiting.",
                    remedy="Try again when one of them has been answered.",
                    data={"limit": self.limit},
                )
            self._jobs.append(job)
            self._changed.notify_all()

    def withdraw(self, job: Job) -> bool:
        """Take back a job that has not begun; False if it has."""
        with self._changed:
            try:
                self._jobs.remove(job)
            except ValueError:
                return False
            return True

    @property
    def waiting(self) -> int:
        with self._changed:
            return len(self._jobs)

    @property
    def running(self) -> bool:
        with self._changed:
            return self._running

    def stop(self) -> None:
        """Take no more jobs and drop the waiting ones."""
        with self._changed:
            self._stopped = True
            self._jobs.clear()
            self._changed.notify_all()

    def join(self, timeout: float) -> bool:
        """After `stop`: wait up to `timeout` seconds for the running job; whether it has ended."""
        self._thread.join(max(0.0, timeout))
        return not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._stopped)
                if self._stopped:
                    return
                job = self._jobs.popleft()
                self._running = True
            try:
                job()
            finally:
                with self._changed:
                    self._running = False
