"""A limited number of places per user, so that no user takes all of them; root is not limited."""

from collections import Counter

EACH = 16
"""Places of one user. A monitor or a question of polkit needs one for a long time."""

TOTAL = 256
"""Places of all users together, except root."""


User = int | str
"""A uid, or the address of another host."""


class Places:
    """Count the places of each user. uid 0 is never refused."""

    def __init__(self) -> None:
        self._taken: Counter[User] = Counter()

    def take(self, user: User) -> bool:
        """Take a place for a user if there is one; ``free`` must follow."""
        full = self._taken[user] >= EACH or self._taken.total() - self._taken[0] >= TOTAL
        if full and user != 0:
            return False
        self._taken[user] += 1
        return True

    def free(self, user: User) -> None:
        """Give a place back."""
        self._taken[user] -= 1
        if not self._taken[user]:
            del self._taken[user]
