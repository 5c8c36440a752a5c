"""Who works on which device in this process: a change or a synchronization, never two at once.

The durable claims of changes are the store's; this is what is known before anything is durable. Constructed
once in `app`, shared by the commit and the datastores.
"""

from __future__ import annotations

from collections.abc import Iterable


class Busy:
    def __init__(self) -> None:
        self._holders: dict[str, str] = {}
        self._marks: dict[str, int] = {}

    def holder(self, element: str) -> str | None:
        return self._holders.get(element)

    def mark(self, element: str) -> int:
        """Grows whenever somebody begins or ends: what was read between two equal marks was read in peace."""
        return self._marks.get(element, 0)

    def take(self, elements: Iterable[str], holder: str) -> None:
        """Whoever takes has looked at `holder` first, and awaited nothing since."""
        for element in elements:
            self._holders[element] = holder
            self._marks[element] = self.mark(element) + 1

    def give_back(self, holder: str) -> None:
        for element in [e for e, by in self._holders.items() if by == holder]:
            del self._holders[element]
            self._marks[element] = self.mark(element) + 1
