"""Loads programs into the running kernel and prints the verifier's log of each.

argv[1]: the program type's number (default 1, a socket filter; 6 is XDP).
stdin: one program a line, its instructions in hex. stdout: one JSON record a line, {"errno": 0, "log": "..."}.
Exits with status 2 and a line on stderr where bpf(2) cannot load anything at all.
"""
import ctypes
import json
import os
import platform
import struct
import sys

SYS_BPF = {"x86_64": 321, "aarch64": 280}.get(platform.machine(), 321)
BPF_PROG_LOAD = 5
LOG_SIZE = 1 << 22
PROG_TYPE = int(sys.argv[1]) if len(sys.argv) > 1 else 1

libc = ctypes.CDLL(None, use_errno=True)


def load(insns, level, log):
    license_text = ctypes.create_string_buffer(b"GPL")
    code = ctypes.create_string_buffer(insns, len(insns))
    log[0] = 0
    attr = struct.pack(
        "=IIQQIIQII",
        PROG_TYPE,
        len(insns) // 8,
        ctypes.addressof(code),
        ctypes.addressof(license_text),
        level,
        LOG_SIZE,
        ctypes.addressof(log),
        0,
        0,
    )
    attr = attr.ljust(160, b"\0")
    buffer = ctypes.create_string_buffer(attr, len(attr))
    fd = libc.syscall(SYS_BPF, BPF_PROG_LOAD, buffer, len(attr))
    errno = ctypes.get_errno() if fd < 0 else 0
    if fd >= 0:
        os.close(fd)
    return errno, log.value.decode()


def main():
    log = ctypes.create_string_buffer(LOG_SIZE)
    errno, _ = load(bytes.fromhex("b7000000000000009500000000000000"), 1, log)
    if errno:
        print("bpf(BPF_PROG_LOAD): " + os.strerror(errno), file=sys.stderr)
        sys.exit(2)
    for line in sys.stdin:
        line = line.strip()
        if line:
            errno, text = load(bytes.fromhex(line), 2, log)
            print(json.dumps({"errno": errno, "log": text}))


main()
