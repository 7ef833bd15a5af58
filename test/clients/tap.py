"""Prints the results of an application's situations as lines of TAP."""
import sys
import traceback

_situations = []


def situation(name):
    """Marks a function as one situation; they run in the order in which they stand."""
    def mark(function):
        _situations.append((name, function))
        return function
    return mark


def run():
    failed = 0
    for name, function in _situations:
        try:
            function()
            print(f'ok - {name}')
        except Exception:
            failed += 1
            print(f'not ok - {name}')
            print('\n'.join('# ' + line for line in traceback.format_exc().splitlines()))
    sys.exit(1 if failed else 0)
