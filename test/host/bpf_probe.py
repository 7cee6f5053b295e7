"""Asks the running kernel: reads a JSON array of requests from standard input, writes a JSON array of answers.

{"op": "prog_load", "prog_type": n, "insns": hex, "expected_attach_type": n, "attach_btf_id": n, "flags": n,
 "license": text (default GPL), "maps": [map_create fields]} -- a 64-bit load with source 1 or 2 names a map by its place
 in "maps"
    -> {"errno": n, "log": text}
{"op": "map_create", "map_type": n, "key_size": n, "value_size": n, "max_entries": n, "map_flags": n, "map_extra": n,
 "btf": hex, "btf_key_type_id": n, "btf_value_type_id": n, "inner": {map_create fields}} -> {"errno": n}
{"op": "btf_id", "name": text, "kind": text} -> {"id": n}; id 0: the kernel's BTF has no such type

Everything that is made is closed at once; nothing is attached or pinned.
"""

import ctypes
import json
import os
import struct
import sys

SYS_BPF = 321
libc = ctypes.CDLL(None, use_errno=True)
MAP_CREATE, PROG_LOAD, BTF_LOAD = 0, 5, 18


def bpf(command, attr):
    buffer = ctypes.create_string_buffer(attr, len(attr))
    result = libc.syscall(SYS_BPF, command, buffer, len(attr))
    return result, (ctypes.get_errno() if result < 0 else 0)


def load_btf(data):
    memory = ctypes.create_string_buffer(data, len(data))
    attr = struct.pack("<QQIIII", ctypes.addressof(memory), 0, len(data), 0, 0, 0)
    return bpf(BTF_LOAD, attr)


def map_create(request):
    inner_fd = btf_fd = -1
    try:
        if "inner" in request:
            inner_fd, error = map_create_fd(request["inner"], 0, 0)
            if inner_fd < 0:
                return -1, error
        if "btf" in request:
            btf_fd, error = load_btf(bytes.fromhex(request["btf"]))
            if btf_fd < 0:
                return -1, error
        return map_create_fd(request, max(inner_fd, 0), max(btf_fd, 0))
    finally:
        for fd in (inner_fd, btf_fd):
            if fd >= 0:
                os.close(fd)


def map_create_fd(request, inner_fd, btf_fd):
    field = request.get
    attr = struct.pack(
        "<IIIIIII16sIIIIIQ",
        request["map_type"],
        field("key_size", 0),
        field("value_size", 0),
        field("max_entries", 0),
        field("map_flags", 0),
        inner_fd,
        field("numa_node", 0),
        b"probe",
        0,
        btf_fd,
        field("btf_key_type_id", 0),
        field("btf_value_type_id", 0),
        0,
        field("map_extra", 0),
    )
    return bpf(MAP_CREATE, attr)


def prog_load(request):
    fds = []
    try:
        for map_request in request.get("maps", []):
            fd, error = map_create(map_request)
            if fd < 0:
                return -1, error, "cannot make the map"
            fds.append(fd)
        return prog_load_with(request, with_fds(bytearray.fromhex(request["insns"]), fds))
    finally:
        for fd in fds:
            os.close(fd)


def with_fds(insns, fds):
    at = 0
    while at < len(insns):
        wide = insns[at] == 0x18
        if wide and insns[at + 1] >> 4 in (1, 2):
            (place,) = struct.unpack_from("<i", insns, at + 4)
            struct.pack_into("<i", insns, at + 4, fds[place])
        at += 16 if wide else 8
    return bytes(insns)


def prog_load_with(request, insns):
    code = ctypes.create_string_buffer(insns, len(insns))
    license = ctypes.create_string_buffer(request.get("license", "GPL").encode())
    log = ctypes.create_string_buffer(1 << 16)
    attr = struct.pack(
        "<IIQQIIQII16sIIIIQIIQII",
        request["prog_type"],
        len(insns) // 8,
        ctypes.addressof(code),
        ctypes.addressof(license),
        1,
        len(log),
        ctypes.addressof(log),
        0,
        request.get("flags", 0),
        b"probe",
        0,
        request.get("expected_attach_type", 0),
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        request.get("attach_btf_id", 0),
    )
    fd, error = bpf(PROG_LOAD, attr)
    return fd, error, log.value.decode(errors="replace")


def vmlinux_ids():
    data = open("/sys/kernel/btf/vmlinux", "rb").read()
    (_, _, _, header, type_off, type_len, str_off, _) = struct.unpack_from("<HBBIIIII", data)
    ids, at, number = {}, header + type_off, 0
    extra = {1: 4, 3: 12, 14: 4, 17: 4}
    per_member = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}
    while at < header + type_off + type_len:
        number += 1
        name_off, info, _ = struct.unpack_from("<III", data, at)
        kind, members = info >> 24 & 31, info & 0xFFFF
        start = header + str_off + name_off
        ids.setdefault((kind, data[start : data.index(b"\0", start)].decode()), number)
        at += 12 + extra.get(kind, 0) + per_member.get(kind, 0) * members
    return ids


def main():
    ids = None
    answers = []
    for request in json.load(sys.stdin):
        if request["op"] == "btf_id":
            ids = ids or vmlinux_ids()
            kind = {"func": 12, "struct": 4, "typedef": 8}[request["kind"]]
            answers.append({"id": ids.get((kind, request["name"]), 0)})
            continue
        if request["op"] == "map_create":
            fd, error = map_create(request)
            answer = {"errno": error}
        else:
            fd, error, log = prog_load(request)
            answer = {"errno": error, "log": log}
        if fd >= 0:
            os.close(fd)
        answers.append(answer)
    json.dump(answers, sys.stdout)


main()
