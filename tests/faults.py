"""A proxy in front of an S3 server that fails as networks and servers do: on purpose, seeded, and counted.

Which request meets which fault depends on the seed, the request (method, key, query) and how often it was seen
before, never on the order in which threads happen to ask: a run that failed fails again with its seed. Bytes pass
unchanged, the Host header above all, so that signatures stay good; each connection carries one request.
"""

import asyncio
import random
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import parse_qsl, urlsplit

# What the proxy says itself, without asking the server.
ANSWERS = {
    "error_500": (500, "InternalError"),
    "slow_down": (503, "SlowDown"),
    "expired_token": (400, "ExpiredToken"),
    "conflict": (409, "ConditionalRequestConflict"),
    "denied": (403, "AccessDenied"),
}
RESETS = {
    "reset_before": "the connection is reset before the request is read",
    "reset_during": "it is reset with half of a body on its way: the request's, or the answer's where that has none",
    "reset_after": "the request is carried out, and its answer is lost",
}
# Only an answer with a body can arrive in part, or slowly.
BODY = {
    "truncated": "the connection closes in order with half of the answer's body still to come",
    "slow_drip": "the answer's body comes in small pieces",
}
SILENCE = {
    "latency": "the answer comes late",
    "stall": "the request is carried out, and no answer ever comes",
}
# Only where a test asks for them: `corrupted`, a byte of the request's body changed on its way, which only a server
# that compares checksums notices; `enormous`, the answer's head promises 10¹² bytes and none come; `unconditional`,
# the request's If-None-Match is lost, as on a server that does not know it; `slow_clock`, the answer's Date is of 1999.

# Every kind that a client that asks again outlives.
KINDS = ("error_500", "slow_down", "expired_token", *RESETS, *BODY, *SILENCE)

LATENCY_SECONDS = 0.2
DRIP_SECONDS = 0.02  # between two of its pieces
DRIP_PIECES = 10
# Names of one run alone: keyed by them, no fault could be repeated.
_RANDOM = {"uploadId", "continuation-token"}

# Given the method, the path with its query, and how many requests came before: the kind of fault, or None.
Plan = Callable[[str, str, int], str | None]


def share(percent: float, seed: int, kinds: tuple[str, ...] = KINDS) -> Plan:
    """Fail so many of a hundred requests, each with one of `kinds` that its answer can show."""
    seen: Counter[str] = Counter()

    def plan(method: str, target: str, before: int) -> str | None:
        parts = urlsplit(target)
        key = parts.path.lstrip("/").partition("/")[2]  # the bucket has another name in each run
        query = sorted(pair for pair in parse_qsl(parts.query) if pair[0] not in _RANDOM)
        name = f"{method} {key} {query}"
        seen[name] += 1
        chance = random.Random(f"{seed} {name} {seen[name]}")
        if chance.random() * 100 >= percent:
            return None
        fitting = [kind for kind in kinds if method == "GET" or kind not in BODY]
        return chance.choice(fitting) if fitting else None

    return plan


class FaultyProxy:
    """Listens on loopback while its `with` lasts. `counts` has the faults by kind, `seen` every request in order."""

    def __init__(self, target: str, plan: Plan = lambda method, target, before: None) -> None:
        """`target` is the server's http://HOST:PORT."""
        address = urlsplit(target)
        self._host, self._port = address.hostname, address.port
        self.plan = plan
        self.counts: Counter[str] = Counter()
        self.seen: list[str] = []
        # Access keys that have expired: whoever signs with one is told so. 400 as AWS does, or 403.
        self.expired: dict[str, int] = {}
        self.endpoint_url = ""

    @contextmanager
    def running(self) -> Iterator["FaultyProxy"]:
        """Serve from a thread of its own."""
        loop, ready, done = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

        async def serve() -> None:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
            self.endpoint_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            ready.set()
            await done.wait()
            server.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="faulty proxy")
        thread.start()
        ready.wait()
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(done.set)
            thread.join()
            loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._exchange(reader, writer)
        with suppress(ConnectionError):
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line, _, rest = head.decode("latin-1").partition("\r\n")
        method, target, _ = line.split(" ")
        fault = self._fault(method, target, rest)
        if fault == "reset_before":
            return _reset(writer)
        length = _length(rest)
        if re.search(r"^expect: *100-continue", rest, re.IGNORECASE | re.MULTILINE) and length:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if fault == "reset_during" and method in ("PUT", "POST"):
            await reader.readexactly(length // 2)
            return _reset(writer)
        body = await reader.readexactly(length)
        if fault in ANSWERS:
            return await _send(writer, *_refusal(*ANSWERS[fault], method))
        if fault == "expired_key":
            status = self.expired[_access_key(rest)]
            return await _send(writer, *_refusal(status, "ExpiredToken", method))
        if fault == "enormous":
            head = b'HTTP/1.1 200 OK\r\nConnection: close\r\nETag: "x"\r\nContent-Length: 1000000000000\r\n\r\n'
            return await _send(writer, head, b"")
        if fault == "corrupted":
            body = bytes([body[0] ^ 1]) + body[1:]
        if fault == "unconditional":
            rest = _without(rest, "if-none-match")
        answer, data = await self._ask(line, rest, body)
        if fault == "slow_clock":
            dated = _without(answer.decode("latin-1").removesuffix("\r\n\r\n"), "date")
            answer = f"{dated}\r\nDate: Fri, 31 Dec 1999 23:59:59 GMT\r\n\r\n".encode("latin-1")
        if fault == "reset_after":
            return _reset(writer)
        if fault == "stall":
            await reader.read()  # until the client hangs up
            return None
        if fault == "latency":
            await asyncio.sleep(LATENCY_SECONDS)
        if fault in ("truncated", "reset_during"):
            await _send(writer, answer, data[: len(data) // 2])
            return _reset(writer) if fault == "reset_during" else None
        if fault == "slow_drip":
            size = max(1, -(-len(data) // DRIP_PIECES))
            await _send(writer, answer, b"")
            for start in range(0, len(data), size):
                await asyncio.sleep(DRIP_SECONDS)
                await _send(writer, b"", data[start : start + size])
            return None
        return await _send(writer, answer, data)

    def _fault(self, method: str, target: str, headers: str) -> str | None:
        fault = "expired_key" if _access_key(headers) in self.expired else self.plan(method, target, len(self.seen))
        self.seen.append(f"{method} {fault or 'passed'}")
        if fault:
            self.counts[fault] += 1
        return fault

    async def _ask(self, line: str, headers: str, body: bytes) -> tuple[bytes, bytes]:
        """The server's answer: its head, which says that the connection closes, and its body."""
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            onward = _without(headers, "connection", "expect")
            writer.write(f"{line}\r\nConnection: close\r\n{onward}".encode("latin-1") + body)
            head, _, data = (await reader.read()).partition(b"\r\n\r\n")
            while head.startswith(b"HTTP/1.1 100"):
                head, _, data = data.partition(b"\r\n\r\n")
        finally:
            writer.close()
        status, _, rest = head.decode("latin-1").partition("\r\n")
        return f"{status}\r\nConnection: close\r\n{_without(rest, 'connection')}\r\n\r\n".encode("latin-1"), data


async def _send(writer: asyncio.StreamWriter, head: bytes, data: bytes) -> None:
    writer.write(head + data)
    await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    # Without lingering, closing sends RST and drops what is on its way.
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _refusal(status: int, code: str, method: str) -> tuple[bytes, bytes]:
    body = f"<Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
    head = f"HTTP/1.1 {status} {code}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode(), b"" if method == "HEAD" else body


def _length(headers: str) -> int:
    # boto3 sends every body with its length, also those in aws-chunked form.
    assert not re.search(r"^transfer-encoding:", headers, re.IGNORECASE | re.MULTILINE), headers
    found = re.search(r"^content-length: *(\d+)", headers, re.IGNORECASE | re.MULTILINE)
    return int(found[1]) if found else 0


def _access_key(headers: str) -> str:
    found = re.search(r"^authorization: .*Credential=([^/]+)/", headers, re.IGNORECASE | re.MULTILINE)
    return found[1] if found else ""


def _without(headers: str, *names: str) -> str:
    lines = headers.split("\r\n")
    return "\r\n".join(line for line in lines if line.partition(":")[0].lower() not in names)
