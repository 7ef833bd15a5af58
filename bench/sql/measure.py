"""Taking turns, and what is said of the turns: all times here are of one run."""

import statistics
import sys
import time

_started = time.monotonic()


def say(what):
    print(f"{time.monotonic() - _started:6.0f} s  {what}", file=sys.stderr, flush=True)


def interleave(cases, rounds, before=None):
    """Runs A B C, A B C, ...; other load on the machine then hits all alike.

    cases maps a name to a function that gives a number; before(name) is outside of it.
    Gives for each name its numbers, one a round.
    """
    taken = {name: [] for name in cases}
    for _ in range(rounds):
        for name, run in cases.items():
            if before:
                before(name)
            taken[name].append(run())
    for name, numbers in taken.items():
        say(f"    {name}: {shown(numbers)}")
    return taken


def shown(numbers):
    middle = median(numbers)
    return f"{middle:.6g} ({min(numbers):.6g} to {max(numbers):.6g})"


def median(numbers):
    return statistics.median(numbers)


def ratio(above, below):
    """The median of each round's own ratio: slow drift of the machine drops out."""
    return median([a / b for a, b in zip(above, below)])


def medians(taken):
    return {name: median(numbers) for name, numbers in taken.items()}
