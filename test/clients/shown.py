"""Prints what an application's calls give, a line each: NAME: JSON.  The same program on two tables is to print the same."""
import json


def show(name, value):
    print(f'{name}: {json.dumps(value, default=str, sort_keys=True)}')


def error_of(call):
    """The SQLSTATE of the error that a call raises."""
    try:
        call()
    except Exception as error:
        while error is not None and getattr(error, 'sqlstate', None) is None and getattr(error, 'orig', None) is None:
            error = error.__cause__
        return getattr(error, 'sqlstate', None) or error.orig.sqlstate
    return None
