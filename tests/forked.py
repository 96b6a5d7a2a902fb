"""A program that starts as fast as a process can be forked: for tests that run `isofleet` dozens of times.

`serve` imports the program once; `client` writes a script to put in its place on the PATH. Each call of the script is a
process of its own with the caller's arguments, folder, environment and streams, that runs the same `jobs.cli.main`. All
that it is spared is loading the libraries, four seconds of a CPU.
"""

import atexit
import os
import signal
import socket
import stat
import struct
import sys
import threading
import traceback
from pathlib import Path

# What commands import when they are run.
PRELOADED = (
    "jobs.cli", "jobs.estimate", "jobs.ray_jobs", "jobs.reconstruct", "jobs.retry", "jobs.scheduler", "jobs.status",
    "jobs.submit", "jobs.verify",
)  # fmt: skip

_CLIENT = """#!{python} -IS
import os, signal, socket, struct, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    said = [*sys.argv[1:], "", os.getcwd(), *(f"{{name}}={{value}}" for name, value in os.environ.items())]
    data = "\\0".join(said).encode("utf-8", "surrogateescape")
    socket.send_fds(server, [struct.pack("I", len(data))], [0, 1, 2])
    server.sendall(data)
    [pid] = struct.unpack("I", server.recv(4))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: os.kill(pid, number))
    status = server.recv(1)
    os._exit(status[0] if status else 255)
"""


def client(script: Path, address: str) -> None:
    """Write the script that has the server at a socket run the program."""
    script.write_text(_CLIENT.format(python=sys.executable, address=address))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)


def serve(address: str) -> None:
    """Import the program, listen on a socket, and fork for every call, until this process is ended."""
    for name in PRELOADED:
        __import__(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forked ones
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        print("ready", flush=True)
        while True:
            connection, _ = server.accept()
            if os.fork() == 0:
                server.close()
                os._exit(_run(connection))
            connection.close()


def _run(connection: socket.socket) -> int:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, streams, *_ = socket.recv_fds(connection, 4, 3)
    data = b""
    while len(data) < struct.unpack("I", length)[0]:
        data += connection.recv(1 << 16)
    said = data.decode("utf-8", "surrogateescape").split("\0")
    end = said.index("")
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.setsid()  # a signal comes from the script, which passes it on, and from nobody else
    sys.argv = ["isofleet", *said[:end]]
    os.chdir(said[end + 1])
    os.environ.clear()
    os.environ.update(entry.split("=", 1) for entry in said[end + 2 :])
    connection.sendall(struct.pack("I", os.getpid()))
    threading.Thread(target=_end_with, args=[connection], daemon=True).start()
    from jobs import cli

    try:
        cli.main()
        status = 0
    except SystemExit as end_of_program:
        status = end_of_program.code if isinstance(end_of_program.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(bytes([status]))
    return status


def _end_with(connection: socket.socket) -> None:
    """Leave nothing running when the caller is killed: it says nothing more until then."""
    if connection.recv(1) == b"":
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    serve(sys.argv[1])
