"""Calls of functions with binary arguments and results, by the libpq of the machine: what a driver does.

Neither psql nor pgbench sends bytes as bytes, and what a server takes for a megabyte is measured
with megabytes, not with twice as many hex digits.
"""

import ctypes
import ctypes.util

_LIBPQ = ctypes.CDLL(ctypes.util.find_library("pq") or "libpq.so.5")

for _name, _result in (("PQconnectdb", ctypes.c_void_p), ("PQexecParams", ctypes.c_void_p), ("PQerrorMessage", ctypes.c_char_p),
                       ("PQresultErrorMessage", ctypes.c_char_p), ("PQgetvalue", ctypes.c_void_p), ("PQclear", None),
                       ("PQfinish", None)):
    getattr(_LIBPQ, _name).restype = _result

_CONNECTION_OK = 0
_DONE = (1, 2)          # PGRES_COMMAND_OK, PGRES_TUPLES_OK


class Error(Exception):
    """What the server said."""


class Connection:
    def __init__(self, conninfo):
        self._conn = ctypes.c_void_p(_LIBPQ.PQconnectdb(conninfo.encode()))
        if _LIBPQ.PQstatus(self._conn) != _CONNECTION_OK:
            raise Error(_LIBPQ.PQerrorMessage(self._conn).decode())

    @property
    def pid(self):
        return _LIBPQ.PQbackendPID(self._conn)

    def value(self, sql, *args):
        """The first column of the first row as bytes; None for NULL and for no row.

        Arguments are bytes, sent as they are, or else texts of themselves; None is NULL.
        """
        sent = [arg if isinstance(arg, bytes) or arg is None else str(arg).encode() for arg in args]
        values = (ctypes.c_char_p * len(args))(*sent)
        lengths = (ctypes.c_int * len(args))(*[0 if arg is None else len(arg) for arg in sent])
        formats = (ctypes.c_int * len(args))(*[int(isinstance(arg, bytes)) for arg in args])
        result = ctypes.c_void_p(_LIBPQ.PQexecParams(self._conn, sql.encode(), len(args), None, values, lengths, formats, 1))
        try:
            if _LIBPQ.PQresultStatus(result) not in _DONE:
                raise Error(_LIBPQ.PQresultErrorMessage(result).decode() or _LIBPQ.PQerrorMessage(self._conn).decode())
            if _LIBPQ.PQntuples(result) == 0 or _LIBPQ.PQgetisnull(result, 0, 0):
                return None
            return ctypes.string_at(_LIBPQ.PQgetvalue(result, 0, 0), _LIBPQ.PQgetlength(result, 0, 0))
        finally:
            _LIBPQ.PQclear(result)

    def close(self):
        _LIBPQ.PQfinish(self._conn)
        self._conn = None
