"""Calls of functions with binary arguments and results, by the libpq of the machine: what a driver does.

Neither psql nor pgbench sends bytes as bytes, and what a server takes for a megabyte is measured
with megabytes, not with twice as many hex digits.
"""

import ctypes
import ctypes.util
import uuid

_LIBPQ = ctypes.CDLL(ctypes.util.find_library("pq") or "libpq.so.5")

for _name, _result in (("PQconnectdb", ctypes.c_void_p), ("PQexecParams", ctypes.c_void_p), ("PQerrorMessage", ctypes.c_char_p),
                       ("PQresultErrorMessage", ctypes.c_char_p), ("PQresultErrorField", ctypes.c_char_p), ("PQgetvalue", ctypes.c_void_p), ("PQclear", None),
                       ("PQfinish", None)):
    getattr(_LIBPQ, _name).restype = _result

_CONNECTION_OK = 0
_DONE = (1, 2)          # PGRES_COMMAND_OK, PGRES_TUPLES_OK


_SQLSTATE, _DETAIL = ord("C"), ord("D")


class Error(Exception):
    """An error of the server; it has no SQLSTATE where the connection was lost."""

    def __init__(self, said, sqlstate=None, detail=None):
        super().__init__(said)
        self.sqlstate = sqlstate
        self.detail = detail


class Rows(list):
    def fetchone(self):
        return self[0] if self else None


def _number(field):
    return int.from_bytes(field, "big", signed=True)


# By the type's oid: bool, bytea, bigint, integer, text, void, uuid.
_READERS = {16: lambda field: field == b"\1", 17: bytes, 20: _number, 23: _number, 25: bytes.decode, 2278: lambda _: "",
            2950: lambda field: uuid.UUID(bytes=field)}


class Connection:
    def __init__(self, conninfo):
        self._conn = ctypes.c_void_p(_LIBPQ.PQconnectdb(conninfo.encode()))
        if _LIBPQ.PQstatus(self._conn) != _CONNECTION_OK:
            said = _LIBPQ.PQerrorMessage(self._conn).decode()
            self.close()
            raise Error(said)

    @property
    def pid(self):
        return _LIBPQ.PQbackendPID(self._conn)

    def _run(self, sql, args):
        """A result, which the caller clears.  Arguments are bytes, or else texts of themselves; None is NULL."""
        sent = [arg if isinstance(arg, bytes) or arg is None else str(arg).encode() for arg in args]
        values = (ctypes.c_char_p * len(args))(*sent)
        lengths = (ctypes.c_int * len(args))(*[0 if arg is None else len(arg) for arg in sent])
        formats = (ctypes.c_int * len(args))(*[int(isinstance(arg, bytes)) for arg in args])
        result = ctypes.c_void_p(_LIBPQ.PQexecParams(self._conn, sql.encode(), len(args), None, values, lengths, formats, 1))
        if _LIBPQ.PQresultStatus(result) in _DONE:
            return result
        said = _LIBPQ.PQresultErrorMessage(result).decode() or _LIBPQ.PQerrorMessage(self._conn).decode()
        sqlstate, detail = (_LIBPQ.PQresultErrorField(result, code) for code in (_SQLSTATE, _DETAIL))
        _LIBPQ.PQclear(result)
        raise Error(said, sqlstate and sqlstate.decode(), detail and detail.decode())

    @staticmethod
    def _field(result, row, column):
        if _LIBPQ.PQgetisnull(result, row, column):
            return None
        return ctypes.string_at(_LIBPQ.PQgetvalue(result, row, column), _LIBPQ.PQgetlength(result, row, column))

    def value(self, sql, *args):
        """The first column of the first row as bytes; None for NULL and for no row."""
        result = self._run(sql, args)
        try:
            return self._field(result, 0, 0) if _LIBPQ.PQntuples(result) > 0 else None
        finally:
            _LIBPQ.PQclear(result)

    def execute(self, sql, args=()):
        """Like psycopg, for the types that are known here: returns rows; arguments are %s in the statement."""
        parts = sql.split("%s")
        numbered = parts[0] + "".join(f"${n}{part}" for n, part in enumerate(parts[1:], 1))
        result = self._run(numbered, args)
        try:
            readers = [_READERS[_LIBPQ.PQftype(result, column)] for column in range(_LIBPQ.PQnfields(result))]
            return Rows(tuple(None if field is None else reader(field) for reader, field in
                              ((reader, self._field(result, row, column)) for column, reader in enumerate(readers)))
                        for row in range(_LIBPQ.PQntuples(result)))
        finally:
            _LIBPQ.PQclear(result)

    def close(self):
        _LIBPQ.PQfinish(self._conn)
        self._conn = None
