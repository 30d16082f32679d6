"""A limited number of places per user, so that no user takes all of them; root is not limited."""

from collections import Counter

EACH = 16
"""Places of one user. A monitor or a question of polkit needs one for a long time."""

TOTAL = 256
"""Places of all users together, except root."""


class Places:
    """Count the places of each user. uid 0 is never refused."""

    def __init__(self) -> None:
        self._taken: Counter[int] = Counter()

    def take(self, uid: int) -> bool:
        """Take a place for a user if there is one; ``free`` must follow."""
        full = self._taken[uid] >= EACH or self._taken.total() - self._taken[0] >= TOTAL
        if full and uid != 0:
            return False
        self._taken[uid] += 1
        return True

    def free(self, uid: int) -> None:
        """Give a place back."""
        self._taken[uid] -= 1
        if not self._taken[uid]:
            del self._taken[uid]
