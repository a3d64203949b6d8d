"""A scripted TDS endpoint: speaks the protocol of SQL Server, knows no SQL at all.

Written from Microsoft's open specification MS-TDS (7.4), standard library only. A handler maps the text and the
parameters of each statement to canned rows, a row count, a SQL Server error or a dropped connection. It proves
what the real drivers send and how their errors arrive. It is no SQL Server: every scripted answer is a claim
about SQL Server, and none of this counts as having been tried against one.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

BATCH, RPC, RESPONSE, ATTENTION, TRANSACTION, LOGIN7, PRELOGIN = 0x01, 0x03, 0x04, 0x06, 0x0E, 0x10, 0x12
COLLATION = bytes.fromhex("0904d00034")
_HEADER = struct.Struct(">BBHHBB")
_PACKET = 4096
_PROCEDURES = {"sp_executesql": 10, "sp_prepare": 11, "sp_execute": 12, "sp_prepexec": 13, "sp_unprepare": 15}
"""Names of the procedures that drivers usually call by number."""


@dataclass(frozen=True)
class Rows:
    """A result set. `columns`: name and Python type (int, str, bytes, bool, float, uuid.UUID)."""

    columns: Sequence[tuple[str, type]]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Count:
    """A statement without rows that touched so many."""

    rows: int = 0


@dataclass(frozen=True)
class ServerError:
    """An error of the server with its number, as documented by Microsoft."""

    number: int
    message: str = "scripted error"
    severity: int = 16


@dataclass(frozen=True)
class Drop:
    """The connection is cut without an answer."""


@dataclass(frozen=True)
class Stall:
    """The answer begins (with these rows, if any) and never ends: a network that broke without a word.

    `attention`: the driver's request to stop is still answered, as by a server that is only busy or waits for a lock.
    """

    rows: Rows | None = None
    attention: bool = False


@dataclass(frozen=True)
class Told:
    """Messages of the server without an error (severity 0), and then its answer."""

    words: Sequence[str]
    then: Answer


Answer = Rows | Count | ServerError | Drop | Stall | Told
Handler = Callable[[str, tuple[Any, ...]], Answer | None]


@dataclass
class Login:
    """What a driver said when logging in."""

    user: str
    password: str
    database: str
    app: str


def starting_answers(sql: str) -> Answer | None:
    """What SQLAlchemy and the drivers ask by themselves when a connection begins."""
    text = " ".join(sql.split())
    if "ProductVersion" in text or "productversion" in text:
        return Rows([("", str)], [["15.0.2000.5"]])
    if text.upper().startswith("SELECT SCHEMA_NAME()"):
        return Rows([("", str)], [["dbo"]])
    if "max support" in text:
        return Rows([("", str)], [["test max support"]])
    if "@@VERSION" in text.upper():
        return Rows([("", str)], [["Microsoft SQL Server 2019 (RTM) - 15.0.2000.5 (X64)"]])
    if "system_views" in text:
        return Rows([("name", str)], [["dm_exec_sessions"]])
    if "transaction_isolation_level" in text:
        return Rows([("", str)], [["READ COMMITTED"]])
    if "sp_datatype_info" in text:  # the ODBC driver asks for column sizes; no rows means "use your own"
        return Rows([("TYPE_NAME", str), ("DATA_TYPE", int), ("COLUMN_SIZE", int)], [])
    if text.upper() in ("SELECT 1", "SELECT 1;"):
        return Rows([("", int)], [[1]])
    if "fn_listextendedproperty" in text:
        return Rows([("", int)], [])
    if text.upper().startswith(("SET ", "BEGIN TRAN", "COMMIT", "ROLLBACK", "IF @@TRANCOUNT", "USE ")):
        return Count()
    return None


@dataclass
class TdsEndpoint:
    """Listens on a free loopback port between `with` and its end. Every connection runs in its own thread.

    `handler` is asked first, then the standing answers. A statement nobody answers gets error 50000, and the
    text is kept in `unexpected`. `login_error`: answer every login with that error. `databases`: those that may be opened;
    for another one the server says 4060 and then 18456, as SQL Server does, or `unknown_database`. `sessions`: makes for every login a handler of
    its own with `close()`; it hears of transactions too, as BEGIN, COMMIT and ROLLBACK TRANSACTION.
    """

    handler: Handler
    sessions: Callable[[Login], Any] | None = None
    login_error: ServerError | None = None
    databases: tuple[str, ...] | None = None
    unknown_database: ServerError | None = None
    statements: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    logins: list[Login] = field(default_factory=list)
    transactions: list[str] = field(default_factory=list)
    encryption_asked: list[int] = field(default_factory=list)
    host: str = "127.0.0.1"
    port: int = 0
    tls: ssl.SSLContext | None = None
    """Its certificate, where all that follows the handshake is encrypted; without it a driver that insists goes away."""

    def __enter__(self) -> TdsEndpoint:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, 0), family=family)
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in [self._acceptor, *self._threads]:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionError, OSError):
            _Session(self, connection).run()

    def answer(self, sql: str, parameters: tuple[Any, ...], handler: Handler | None = None) -> Answer:
        """Keep the statement and find its answer."""
        self.statements.append((sql, parameters))
        found = (handler or self.handler)(sql, parameters)
        if found is None:
            found = starting_answers(sql)
        if found is None:
            self.unexpected.append(sql)
            return ServerError(50000, f"the script has no answer for: {sql}")
        return found


@dataclass
class ScriptedBrowser:
    """Answers as the SQL Server Browser does (MC-SQLR): which TCP port an instance has. UDP port 1434 of `host`."""

    instances: dict[str, int]
    host: str = "127.0.0.1"
    asked: list[str] = field(default_factory=list)

    def __enter__(self) -> ScriptedBrowser:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((self.host, 1434))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waking:
            waking.sendto(b"", (self.host, 1434))
        self._thread.join(5)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                question, back = self._socket.recvfrom(2048)
            except OSError:
                return
            if not question:
                return
            name = question[1:].split(b"\x00")[0].decode("ascii")
            self.asked.append(name)
            port = {one.lower(): found for one, found in self.instances.items()}.get(name.lower())
            if port is None:
                continue
            text = f"ServerName;SCRIPTED;InstanceName;{name};IsClustered;No;Version;15.0.2000.5;tcp;{port};;"
            answer = b"\x05" + struct.pack("<H", len(text)) + text.encode("ascii")
            self._socket.sendto(answer, back)


class _Session:
    """One connection."""

    def __init__(self, endpoint: TdsEndpoint, connection: socket.socket) -> None:
        self.endpoint = endpoint
        self.connection: socket.socket | _Encrypted = connection
        self.prepared: dict[int, str] = {}
        self.handler: Any = None

    def run(self) -> None:
        try:
            self._run()
        finally:
            if self.handler is not None:
                self.handler.close()

    def _run(self) -> None:
        while True:
            message = self._receive()
            if message is None:
                return
            kind, body = message
            if kind == PRELOGIN:
                self._send(self._prelogin(body))
                if self.endpoint.tls is not None:
                    self._encrypt(self.endpoint.tls)
            elif kind == LOGIN7:
                tokens, welcome = self._login(body)
                self._send(tokens)
                if not welcome:
                    while self.connection.recv(4096):
                        pass  # the client goes first: a driver that meets the end before it has read why tells only the end
                    return
            elif kind == ATTENTION:
                self._send(_done(0x20))
            elif kind == TRANSACTION:
                self._send(self._transaction(body))
            elif kind in (BATCH, RPC):
                tokens = self._batch(body) if kind == BATCH else self._rpc(body)
                if isinstance(tokens, Stall):
                    self._stall(tokens)
                    continue
                if tokens is None:
                    return
                self._send(tokens)
            else:
                raise ConnectionError(f"unknown packet type {kind}")

    # ------------------------------------------------------------ packets

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.connection.recv(count - len(data))
            if not piece:
                raise ConnectionError("closed")
            data += piece
        return data

    def _receive(self) -> tuple[int, bytes] | None:
        body = b""
        while True:
            kind, status, length, _, _, _ = _HEADER.unpack(self._exactly(_HEADER.size))
            body += self._exactly(length - _HEADER.size)
            if status & 1:
                return kind, body

    def _stall(self, answer: Stall) -> None:
        """Begin to answer and wait; the driver may ask to stop, or go away."""
        if answer.rows is not None:
            self._send(_result(answer.rows), whole=False)
        while True:
            message = self._receive()  # ConnectionError when the driver gives up
            if message is not None and message[0] == ATTENTION and answer.attention:
                self._send(_done(0x20))
                return

    def _send(self, tokens: bytes, *, whole: bool = True) -> None:
        room = _PACKET - _HEADER.size
        pieces = [tokens[i : i + room] for i in range(0, len(tokens), room)] or [b""]
        for number, piece in enumerate(pieces):
            last = whole and number == len(pieces) - 1
            header = _HEADER.pack(RESPONSE, int(last), len(piece) + _HEADER.size, 51, (number + 1) & 0xFF, 0)
            self.connection.sendall(header + piece)

    # ------------------------------------------------------------ beginning

    def _encrypt(self, context: ssl.SSLContext) -> None:
        """The handshake, wrapped in packets of the beginning; what follows is encrypted whole, packets and all."""
        theirs, ours = ssl.MemoryBIO(), ssl.MemoryBIO()
        channel = context.wrap_bio(theirs, ours, server_side=True)
        made = False
        while not made:
            try:
                channel.do_handshake()
                made = True
            except ssl.SSLWantReadError:
                pass
            if told := ours.read():
                header = _HEADER.pack(PRELOGIN, 1, len(told) + _HEADER.size, 0, 0, 0)
                self.connection.sendall(header + told)
            if not made:
                message = self._receive()
                assert message is not None
                theirs.write(message[1])
        self.connection = _Encrypted(self.connection, channel, theirs, ours)

    def _prelogin(self, body: bytes) -> bytes:
        """Version, and encryption "not supported" or "on": a driver that insists on it goes away at the first."""
        position = 0
        while position < len(body) and body[position] != 0xFF:
            option, offset, length = struct.unpack_from(">BHH", body, position)
            if option == 1 and length:
                self.endpoint.encryption_asked.append(body[offset])
            position += 5
        options = [
            (0, struct.pack(">BBHH", 15, 0, 2000, 0)),
            (1, b"\x02" if self.endpoint.tls is None else b"\x01"),
            (2, b"\x00"),
            (3, b""),
            (4, b"\x00"),
        ]
        head, data = b"", b""
        start = 5 * len(options) + 1
        for option, value in options:
            head += struct.pack(">BHH", option, start + len(data), len(value))
            data += value
        return head + b"\xff" + data

    def _login(self, body: bytes) -> tuple[bytes, bool]:
        def text(at: int, *, secret: bool = False) -> str:
            offset, count = struct.unpack_from("<HH", body, at)
            raw = body[offset : offset + 2 * count]
            if secret:
                raw = bytes(((b ^ 0xA5) >> 4 | (b ^ 0xA5) << 4) & 0xFF for b in raw)
            return raw.decode("utf-16-le")

        login = Login(text(40), text(44, secret=True), text(68), text(48))
        self.endpoint.logins.append(login)
        if self.endpoint.login_error is not None:
            return _error(self.endpoint.login_error) + _done(0x02), False
        database = login.database or "master"
        if self.endpoint.databases is not None and database not in self.endpoint.databases:
            if self.endpoint.unknown_database is not None:
                return _error(self.endpoint.unknown_database) + _done(0x02), False
            words = f'Cannot open database "{database}" requested by the login. The login failed.'
            refused = _error(ServerError(4060, words, 11))
            refused += _error(ServerError(18456, f"Login failed for user '{login.user}'.", 14))
            return refused + _done(0x02), False
        if self.endpoint.sessions is not None:
            self.handler = self.endpoint.sessions(login)
        name = _b_varchar("Microsoft SQL Server")
        ack = b"\x01" + bytes.fromhex("74000004") + name + struct.pack(">BBH", 15, 0, 2000)
        tokens = _environment(1, _b_varchar(database), _b_varchar("master"))
        tokens += _environment(7, bytes([len(COLLATION)]) + COLLATION, b"\x00")
        tokens += b"\xad" + struct.pack("<H", len(ack)) + ack
        tokens += _environment(4, _b_varchar(str(_PACKET)), _b_varchar(str(_PACKET)))
        return tokens + _done(0), True

    # ------------------------------------------------------------ requests

    def _transaction(self, body: bytes) -> bytes:
        (headers,) = struct.unpack_from("<I", body)
        (request,) = struct.unpack_from("<H", body, headers)
        name = {5: "begin", 7: "commit", 8: "rollback"}.get(request, str(request))
        tokens, done = self._step(name)
        named = body[headers + 2] if name in ("commit", "rollback") else 0
        if done and name in ("commit", "rollback") and body[headers + 3 + named] & 1:
            begun, done = self._step("begin")  # fBeginXact: the next one begins in the same request
            tokens += begun
        return tokens + _done(0 if done else 0x02)

    def _step(self, name: str) -> tuple[bytes, bool]:
        """What is said of one step of a transaction, and whether it was made."""
        self.endpoint.transactions.append(name)
        if self.handler is not None:
            answer = self.handler(f"{name.upper()} TRANSACTION", ())
            if isinstance(answer, ServerError):
                return _error(answer), False
        descriptor = bytes([8]) + struct.pack("<Q", 1)
        if name == "begin":
            return _environment(8, descriptor, b"\x00"), True
        if name in ("commit", "rollback"):
            return _environment(9 if name == "commit" else 10, b"\x00", descriptor), True
        return b"", True

    def _batch(self, body: bytes) -> bytes | Stall | None:
        (headers,) = struct.unpack_from("<I", body)
        return self._answered(body[headers:].decode("utf-16-le"), (), in_procedure=False)

    def _rpc(self, body: bytes) -> bytes | Stall | None:
        reader = _Reader(body)
        reader.skip(reader.u32() - 4)
        length = reader.u16()
        procedure = reader.u16() if length == 0xFFFF else 0
        name = "" if procedure else reader.take(2 * length).decode("utf-16-le").lower()
        procedure = procedure or _PROCEDURES.get(name, 0)
        reader.u16()
        values = []
        while reader.left():
            values.append(reader.parameter())
        if procedure == 0:
            return self._answered(f"EXEC {name}", tuple(values), in_procedure=True)
        if procedure == 10:
            return self._answered(values[0], tuple(values[2:]), in_procedure=True)
        if procedure == 11:
            handle = len(self.prepared) + 1
            self.prepared[handle] = values[2]
            return b"\x79" + struct.pack("<i", 0) + _handle(handle) + _done(0, token=0xFE)
        if procedure == 13:
            handle = len(self.prepared) + 1
            self.prepared[handle] = values[2]
            return self._answered(values[2], tuple(values[3:]), in_procedure=True, handle=handle)
        if procedure == 12:
            return self._answered(self.prepared[values[0]], tuple(values[1:]), in_procedure=True)
        return b"\x79" + struct.pack("<i", 0) + _done(0, token=0xFE)

    def _answered(
        self, sql: str, parameters: tuple[Any, ...], *, in_procedure: bool, handle: int | None = None
    ) -> bytes | Stall | None:
        answer = self.endpoint.answer(sql, parameters, self.handler)
        told = b""
        if isinstance(answer, Told):
            told = b"".join(_message(words) for words in answer.words)
            answer = answer.then
        if isinstance(answer, Drop):
            return None
        if isinstance(answer, Stall):
            return answer
        more = 0x01 if in_procedure else 0
        token = 0xFF if in_procedure else 0xFD
        if isinstance(answer, Told):
            raise TypeError("messages within messages")
        if isinstance(answer, ServerError):
            tokens = _error(answer) + _done(0x02 | more, token=token)
        elif isinstance(answer, Rows):
            tokens = _result(answer) + _done(0x10 | more, rows=len(answer.rows), command=0xC1, token=token)
        else:
            tokens = _done(0x10 | more, rows=answer.rows, command=0xC5, token=token)
        tokens = told + tokens
        if not in_procedure:
            return tokens
        tokens += b"\x79" + struct.pack("<i", 0)
        if handle is not None:
            tokens += _handle(handle)
        return tokens + _done(0, token=0xFE)


class _Encrypted:
    """A connection behind its handshake."""

    def __init__(
        self, raw: socket.socket, channel: ssl.SSLObject, theirs: ssl.MemoryBIO, ours: ssl.MemoryBIO
    ) -> None:
        self.raw, self.channel, self.theirs, self.ours = raw, channel, theirs, ours

    def recv(self, count: int) -> bytes:
        while True:
            try:
                return self.channel.read(count)
            except ssl.SSLWantReadError:
                piece = self.raw.recv(65536)
                if not piece:
                    return b""
                self.theirs.write(piece)

    def sendall(self, data: bytes) -> None:
        self.channel.write(data)
        self.raw.sendall(self.ours.read())


class _Reader:
    """Parameters of a remote procedure call, the types that drivers send."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, count: int) -> bytes:
        piece = self.data[self.at : self.at + count]
        self.at += count
        return piece

    def skip(self, count: int) -> None:
        self.at += count

    def u8(self) -> int:
        return self.take(1)[0]

    def u16(self) -> int:
        return int(struct.unpack("<H", self.take(2))[0])

    def u32(self) -> int:
        return int(struct.unpack("<I", self.take(4))[0])

    def parameter(self) -> Any:
        self.take(2 * self.u8())
        self.u8()
        kind = self.u8()
        if kind in (0xE7, 0xEF, 0xA7, 0xAF, 0xA5, 0xAD):
            return self._long(kind)
        if kind == 0x63:  # ntext, in which FreeTDS sends what is to be prepared
            self.skip(4 + 5)
            length = self.u32()
            return None if length == 0xFFFFFFFF else self.take(length).decode("utf-16-le")
        if kind in (0x26, 0x68, 0x6D, 0x24):
            self.u8()
            raw = self.take(self.u8())
            return _number(kind, raw) if raw else None
        raise ConnectionError(f"the endpoint does not know parameter type 0x{kind:02x}")

    def _long(self, kind: int) -> Any:
        longest = self.u16()
        if kind not in (0xA5, 0xAD):
            self.skip(5)
        if longest == 0xFFFF:
            raw = self._pieces()
        else:
            length = self.u16()
            raw = None if length == 0xFFFF else self.take(length)
        if raw is None or kind in (0xA5, 0xAD):
            return raw
        return raw.decode("utf-16-le" if kind in (0xE7, 0xEF) else "cp1252")

    def _pieces(self) -> bytes | None:
        if self.take(8) == b"\xff" * 8:
            return None
        raw = b""
        while length := self.u32():
            raw += self.take(length)
        return raw


def _number(kind: int, raw: bytes) -> Any:
    if kind == 0x24:
        return uuid.UUID(bytes_le=raw)
    if kind == 0x6D:
        return struct.unpack("<d" if len(raw) == 8 else "<f", raw)[0]
    if kind == 0x68:
        return bool(raw[0])
    return int.from_bytes(raw, "little", signed=len(raw) > 1)


def _handle(number: int) -> bytes:
    """The number of a prepared statement, as a parameter that the server gives back."""
    told = b"\xac" + struct.pack("<H", 0) + _b_varchar("") + b"\x01" + struct.pack("<IH", 0, 0)
    return told + b"\x26\x04\x04" + struct.pack("<i", number)


def _b_varchar(text: str) -> bytes:
    raw = text.encode("utf-16-le")
    return bytes([len(raw) // 2]) + raw


def _us_varchar(text: str) -> bytes:
    raw = text.encode("utf-16-le")
    return struct.pack("<H", len(raw) // 2) + raw


def _environment(kind: int, new: bytes, old: bytes) -> bytes:
    body = bytes([kind]) + new + old
    return b"\xe3" + struct.pack("<H", len(body)) + body


def _done(status: int, *, rows: int = 0, command: int = 0, token: int = 0xFD) -> bytes:
    return bytes([token]) + struct.pack("<HHQ", status, command, rows)


def _message(words: str) -> bytes:
    """INFO of BACKUP DATABASE."""
    return b"\xab" + _error(ServerError(4035, words, 0))[1:]


def _error(error: ServerError) -> bytes:
    body = struct.pack("<IBB", error.number, 1, error.severity) + _us_varchar(error.message)
    body += _b_varchar("scripted") + _b_varchar("") + struct.pack("<I", 1)
    return b"\xaa" + struct.pack("<H", len(body)) + body


_TYPE_INFO = {
    int: b"\x26\x08",
    float: b"\x6d\x08",
    bool: b"\x68\x01",
    uuid.UUID: b"\x24\x10",
    bytes: b"\xa5" + struct.pack("<H", 8000),
    str: b"\xe7" + struct.pack("<H", 8000) + COLLATION,
}


def _result(answer: Rows) -> bytes:
    long = {
        place
        for place, (_, kind) in enumerate(answer.columns)
        if kind is str
        and any(row[place] is not None and _units(row[place]) > _LONGEST for row in answer.rows)
    }
    out = [b"\x81" + struct.pack("<H", len(answer.columns))]
    for place, (name, kind) in enumerate(answer.columns):
        info = b"\xe7\xff\xff" + COLLATION if place in long else _TYPE_INFO[kind]
        out.append(struct.pack("<IH", 0, 1) + info + _b_varchar(name))
    for row in answer.rows:
        out.append(b"\xd1")
        for place, ((_, kind), value) in enumerate(zip(answer.columns, row, strict=True)):
            out.append(_long_cell(value) if place in long else _cell(kind, value))
    return b"".join(out)


_LONGEST = 4000
"""Units of an nvarchar; a column with a longer text is one of nvarchar(max)."""


def _units(text: str) -> int:
    """Of UTF-16: an emoji is two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _long_cell(value: str | None) -> bytes:
    """In one piece, after its length; an empty text has none, for a piece of length 0 is the end."""
    if value is None:
        return b"\xff" * 8
    raw = value.encode("utf-16-le", "surrogatepass")
    piece = struct.pack("<I", len(raw)) + raw if raw else b""
    return struct.pack("<Q", len(raw)) + piece + bytes(4)


def _cell(kind: type, value: Any) -> bytes:
    if kind in (str, bytes):
        if value is None:
            return b"\xff\xff"
        raw = value.encode("utf-16-le", "surrogatepass") if kind is str else value
        return struct.pack("<H", len(raw)) + raw
    if value is None:
        return b"\x00"
    if kind is int:
        return b"\x08" + struct.pack("<q", value)
    if kind is float:
        return b"\x08" + struct.pack("<d", value)
    if kind is bool:
        return b"\x01" + bytes([value])
    return b"\x10" + value.bytes_le
