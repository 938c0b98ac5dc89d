"""Calling a policy so that nothing it does can stop the advisor: an exception, a NaN or no answer is a reason."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Failure", "Shield"]

T = TypeVar("T")

#: Threads that may hang at once; past that the policy is not called again.
_ABANDONED = 3


class Failure(Exception):  # noqa: N818 - it is caught where it is raised for, and never leaves the advisor
    """A call gave nothing: ``POLICY_EXCEPTION``, ``POLICY_NAN`` or ``POLICY_TIMEOUT``, and a sentence."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail = code, detail


class Shield(Generic[T]):
    """A thread that calls for us and can be left behind.

    A thread cannot be ended from outside, so one that does not answer is abandoned and a new one started; it is a
    daemon, so that the process can still end.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: queue.SimpleQueue[tuple[Callable[[], T], queue.SimpleQueue[T | BaseException]]] | None = None
        self._abandoned = 0

    def call(self, function: Callable[[], T], timeout_seconds: float) -> T:
        """The function's result.

        Raises
        ------
        Failure
            When it raises, finds its numbers not finite (FloatingPointError), or does not answer in time.
        """
        with self._lock:
            if self._abandoned >= _ABANDONED:
                raise Failure("POLICY_TIMEOUT", f"the policy did not answer {_ABANDONED} times and is not called again")
            if self._calls is None:
                self._calls = queue.SimpleQueue()
                threading.Thread(target=_serve, args=(self._calls,), daemon=True, name="policy").start()
            answers: queue.SimpleQueue[T | BaseException] = queue.SimpleQueue()
            self._calls.put((function, answers))
            try:
                answer = answers.get(timeout=timeout_seconds)
            except queue.Empty:
                self._calls, self._abandoned = None, self._abandoned + 1
                raise Failure("POLICY_TIMEOUT", f"the policy gave no answer in {timeout_seconds:g} s") from None
        if isinstance(answer, FloatingPointError):
            raise Failure("POLICY_NAN", str(answer))
        if isinstance(answer, BaseException):
            raise Failure("POLICY_EXCEPTION", f"the policy failed: {type(answer).__name__} {answer}"[:200])
        return answer


def _serve(calls: queue.SimpleQueue[tuple[Callable[[], T], queue.SimpleQueue[T | BaseException]]]) -> None:
    while True:
        function, answers = calls.get()
        try:
            answers.put(function())
        except BaseException as error:  # whatever it is, the caller must hear of it
            answers.put(error)
