"""Watch all processes and threads of a command for connections and name look-ups.

    python tests/network.py dvc repro

lists the attempts and exits with status 1 if there were any. It needs strace, which sees system calls and so
also the threads that a C++ library starts by itself.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CALLS = "connect,sendto,sendmsg,sendmmsg"
ADDRESS = re.compile(r'sin6?_port=htons\((\d+)\).*?(?:inet_addr\(|AF_INET6, )"([^"]+)"')
PAYLOAD = re.compile(r'(?:iov_base=|\(\d+, )"((?:\\x[0-9a-f]{2})+)"')
NAME_SERVER_PORT = 53
DNS_HEADER_BYTES = 12


def watch(command: Sequence[str], **options: Any) -> tuple[subprocess.CompletedProcess[Any], list[str]]:
    """Run `command` to its end; return it, and each different attempt once, such as `look up example.org`.

    A connection to this machine is no attempt, unless it asks a name server.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "strace.log"
        # --seccomp-bpf stops the program only at these calls, so that it runs at nearly full speed.
        strace = f"strace --follow-forks --seccomp-bpf -qq -x -s 300 -e trace={CALLS}".split()
        done = subprocess.run([*strace, "-o", str(log), *command], check=False, **options)
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return done, list(dict.fromkeys(attempt for line in lines for attempt in attempts_of(line)))


def attempts_of(line: str) -> list[str]:
    """The attempts that one line of strace shows."""
    attempts = []
    if address := ADDRESS.search(line):
        port, host = int(address[1]), address[2]
        if port == NAME_SERVER_PORT or not (host.startswith("127.") or host in ("::1", "::ffff:127.0.0.1")):
            attempts.append(f"connect to {host} port {port}")
    for payload in PAYLOAD.findall(line):
        if name := name_asked(bytes.fromhex(payload.replace("\\x", ""))):
            attempts.append(f"look up {name}")
    return attempts


def name_asked(packet: bytes) -> str | None:
    """The name in a DNS query with one question (RFC 1035, section 4.1), or None if `packet` is not one."""
    if len(packet) <= DNS_HEADER_BYTES or packet[2] & 0xF8 or packet[4:8] != b"\0\1\0\0":
        return None
    labels, rest = [], packet[DNS_HEADER_BYTES:]
    while rest and rest[0]:
        labels.append(rest[1 : 1 + rest[0]].decode("ascii", "replace"))
        rest = rest[1 + rest[0] :]
    return ".".join(labels)


def main() -> None:
    if not sys.argv[1:]:
        sys.exit(f"usage: {__doc__}")
    done, attempts = watch(sys.argv[1:])
    for attempt in attempts:
        print(attempt)
    print(f"{len(attempts)} different attempts to reach the network; exit status {done.returncode}")
    sys.exit(done.returncode or bool(attempts))


if __name__ == "__main__":
    main()
