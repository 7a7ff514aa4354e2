"""A cc-shim as proxies-and-shims has it (§5): cc-proxy's protocol on one side, a process's face on
the other, and a child that tells the proxy when it was killed."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import struct
import sys
import time
import tty

HEADER = struct.Struct(">HB3sBBI")
COMMAND, RESPONSE, STREAM, NOTIFICATION = range(4)
CONNECT, DISCONNECT, SIGNAL = 4, 5, 6
TOKEN = re.compile(r"(?:[\w-]{4})*(?:[\w-]{2}==|[\w-]{3}=)?\Z", re.ASCII)
BUFFER = 8192
RECONNECT = 600.0  # seconds; ten there, for which nobody is to wait either
FORWARDED = {
    signal.Signals[f"SIG{name}"]
    for name in (
        *("HUP", "INT", "TRAP", "ABRT", "USR1", "USR2", "ALRM", "TERM", "STKFLT", "CHLD", "CONT"),
        *("TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR"),
    )
}
OPTIONS = {
    **dict.fromkeys(("-c", "--container-id"), "container"),
    **dict.fromkeys(("-t", "--token"), "token"),
    **dict.fromkeys(("-u", "--uri"), "uri"),
    **dict.fromkeys(("-r", "--reconnect-timeout"), "timeout"),
}


class Shim:
    def __init__(self, path: str, token: str) -> None:
        self.path, self.token = path, token
        self.wake, self.caught = os.pipe()
        for fd in (self.wake, self.caught):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self.caught, warn_on_full_buffer=False)
        for number in FORWARDED:
            signal.signal(number, lambda *_: None)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)
        self.send(COMMAND, CONNECT, json.dumps({"token": self.token}).encode())

    def send(self, kind: int, opcode: int, payload: bytes = b"") -> None:
        header = HEADER.pack(2, 3, bytes(3), kind, opcode, len(payload))
        self.sock.sendall(header + payload)

    def receive(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.sock.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def frame(self) -> tuple[int, int, bytes]:
        version, words, _, kind, opcode, length = HEADER.unpack(self.receive(HEADER.size))
        assert version == 2
        assert words >= 3
        self.receive(4 * words - HEADER.size)
        return kind, opcode, self.receive(length)

    def forward(self) -> None:
        for number in os.read(self.wake, 4096):
            told = {"signalNumber": number}
            if number == signal.SIGWINCH:
                if not os.isatty(0):
                    continue
                size = os.get_terminal_size(0)
                told |= {"rows": size.lines, "columns": size.columns}
            self.send(COMMAND, SIGNAL, json.dumps(told).encode())

    def run(self) -> int:
        self.connect()
        alive = self.watch()
        inputs = [self.sock, self.wake, 0]
        if os.isatty(0):
            tty.setraw(0)
        else:
            os.set_blocking(0, False)
        while True:
            for ready in select.select(inputs, [], [])[0]:
                if ready == self.wake:
                    self.forward()
                elif ready == 0:
                    try:
                        data = os.read(0, BUFFER)
                    except BlockingIOError:
                        continue
                    except OSError:
                        data = b""
                    self.send(STREAM, 0, data)
                    if not data:
                        inputs.remove(0)
                else:
                    try:
                        kind, opcode, payload = self.frame()
                    except (EOFError, OSError):
                        return self.lost()
                    if kind == RESPONSE | 0x10 and opcode == CONNECT:
                        return 1
                    if kind == STREAM:
                        write(opcode, payload)
                    if kind == NOTIFICATION:
                        self.send(COMMAND, DISCONNECT)
                        os.close(alive)
                        return payload[0]

    def lost(self) -> int:
        until = time.monotonic() + RECONNECT
        while time.monotonic() < until:
            try:
                self.connect()
                kind, *_ = self.frame()
            except (OSError, EOFError) as error:
                write(2, f"cannot connect with the proxy: {error}\n".encode())
                time.sleep(0.1)
                continue
            return 1 if kind == RESPONSE | 0x10 else self.run()
        return 1

    def watch(self) -> int:
        """A child that sees us end without a word."""
        reading, writing = os.pipe()
        if os.fork():
            os.close(reading)
            return writing
        os.close(writing)
        signal.set_wakeup_fd(-1)
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.read(reading, 1)
        try:
            self.send(COMMAND, SIGNAL, json.dumps({"signalNumber": 9}).encode())
        finally:
            os._exit(0)


def write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def main(arguments: list[str]) -> int:
    words = [word for word in arguments if word not in {"-d", "--debug"}]
    given = {OPTIONS[key]: value for key, value in zip(words[::2], words[1::2], strict=True)}
    if not {"container", "token", "uri"} <= set(given) or not TOKEN.match(given["token"]):
        sys.stderr.write("missing or wrong option\n")
        return 1
    try:
        return Shim(given["uri"].removeprefix("unix://"), given["token"]).run()
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
