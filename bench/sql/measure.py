"""Runs cases in turns, and summarizes the turns of one run."""

import statistics
import sys
import time

_started = time.monotonic()


def say(what):
    print(f"{time.monotonic() - _started:6.0f} s  {what}", file=sys.stderr, flush=True)


def interleave(cases, rounds, before=None):
    """Runs A B C, A B C, ...; other load on the machine then affects all cases alike.

    cases maps a name to a function that returns a number; before(name) runs before each turn.
    Returns the numbers of each name, one for each round.
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
    """The median of the ratios of the rounds, so that slow drift of the machine cancels out."""
    return median([a / b for a, b in zip(above, below)])


def medians(taken):
    return {name: median(numbers) for name, numbers in taken.items()}
