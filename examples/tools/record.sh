#!/usr/bin/env bash
# Records the tools' inputs anew: examples/inputs/*.data by perf, files.strace by strace, dns.pcap by tcpdump, samples.txt by perf script.
# Needs root and the Debian packages linux-perf, strace, tcpdump, iproute2, python3, gcc. The recordings are committed.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
space=tsbpf-dns-$$
loop=
cleanup() {
	ip netns pids "$space" 2>/dev/null | xargs -r kill 2>/dev/null || true
	ip netns del "$space" 2>/dev/null || true
	[ -z "$loop" ] || losetup -d "$loop" || true
	rm -rf "$work"
}
trap cleanup EXIT
# Small recordings, of what happens here alone: what perf says of the machine and of processes without events is cut out of them.
cat >"$work/cut.py" <<'PY'
import struct, sys
SAMPLE, COMM, EXIT, FORK, KEPT = 9, 3, 4, 7, {1: "tracing data", 29: "clock"}
path = sys.argv[1]
data = open(path, "rb").read()
head = list(struct.unpack("<8sQQ QQ QQ QQ QQQQ", data[:104]))
at, size, flags = head[5], head[6], head[9]
end = at + size
records, pids = [], set()
while at < end:
    kind, _, length = struct.unpack("<IHH", data[at : at + 8])
    records.append((kind, data[at : at + length]))
    # IDENTIFIER, IP, TID come first in the samples of tracepoints; IP, TID where there is one event.
    if kind == SAMPLE:
        for place in (24, 16):
            pids.add(struct.unpack("<I", records[-1][1][place + 4 : place + 8])[0])
    at += length
def kept(kind, body):
    if kind == COMM:
        return struct.unpack("<I", body[12:16])[0] in pids
    if kind in (FORK, EXIT):
        return struct.unpack("<I", body[16:20])[0] in pids
    return kind == SAMPLE
def without_names(trace):
    # The formats end with names of the machine's processes: sizes and names of files before them are passed over.
    at = trace.index(b"\0", 3) + 1 + 1 + 1 + 4
    def size(kind="<Q"):
        nonlocal at
        at += struct.calcsize(kind)
        return struct.unpack(kind, trace[at - struct.calcsize(kind) : at])[0]
    def skip(kind="<Q"):
        nonlocal at
        length = size(kind)
        at += length
    def text():
        nonlocal at
        at = trace.index(b"\0", at) + 1
    for _ in range(2):
        text()
        skip()
    for _ in range(size("<I")):
        skip()
    for _ in range(size("<I")):
        text()
        for _ in range(size("<I")):
            skip()
    for _ in range(2):
        skip("<I")
    return trace[:at] + struct.pack("<Q", 0)
body = b"".join(record for kind, record in records if kept(kind, record))
sections, number = [], 0
for bit in range(64):
    if flags >> bit & 1:
        offset, length = struct.unpack("<QQ", data[end + 16 * number : end + 16 * number + 16])
        if bit in KEPT:
            section = data[offset : offset + length]
            sections.append(without_names(section) if bit == 1 else section)
        number += 1
head[6] = len(body)
head[9:13] = [sum(1 << bit for bit in KEPT if flags >> bit & 1), 0, 0, 0]
out = struct.pack("<8sQQ QQ QQ QQ QQQQ", *head) + data[104 : head[5]] + body
table, behind = b"", len(out) + 16 * len(sections)
for section in sections:
    table += struct.pack("<QQ", behind, len(section))
    behind += len(section)
open(path, "wb").write(out + table + b"".join(sections))
PY
rm -f inputs/*.data
record() {
	perf record -q -k CLOCK_MONOTONIC -B -N --no-bpf-event --synth=no "$@" 2>/dev/null
	while [ "$1" != -o ]; do shift; done
	python3 "$work/cut.py" "$2"
}

# Files: a tree that is written, synced, read and searched. -T: the time in each call.
(
	cd "$work"
	# shellcheck disable=SC2016
	strace -f -ttt -T -s 64 -o files.strace -e trace=process,read,write,openat,close,dup2,fsync,fdatasync,pread64,pwrite64,kill,tgkill,getuid,getgid,exit_group \
		sh -c 'dd if=/dev/zero of=big bs=256k count=8 conv=fsync; dd if=big of=copy bs=1M; grep -c x big; sleep 9 & kill -TERM $!; kill -0 $$; kill -USR1 1073741823; rm big copy; sh -c "kill -SEGV \$\$"; exit 3' >/dev/null 2>&1 || true
)
cp "$work/files.strace" inputs/files.strace

# Processors: four processes of their own name that compute, sleep and wake each other.
cat >"$work/workers.py" <<'PY'
import os, time
def worker(number, read, write):
    with open("/proc/self/comm", "w") as comm:
        comm.write(f"worker-{number}")
    for _ in range(12):
        os.read(read, 1)
        sum(i * i for i in range(4000 * (number + 1)))
        os.write(write, b"x")
    os._exit(0)
pipes = [os.pipe() for _ in range(4)]
for number in range(4):
    if os.fork() == 0:
        worker(number, pipes[number][0], pipes[(number + 1) % 4][1])
for _ in range(2):
    os.write(pipes[0][1], b"x")
    time.sleep(0.01)
for _ in range(4):
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        break
time.sleep(0.3)
PY
ours='comm ~ "worker*"'
record -a -o inputs/sched.data \
	-e sched:sched_switch --filter 'prev_comm ~ "worker*" || next_comm ~ "worker*"' \
	-e sched:sched_wakeup --filter "$ours" -e sched:sched_wakeup_new --filter "$ours" -- timeout 3 python3 "$work/workers.py"

# A block device: a file behind a loop device.
truncate -s 16M "$work/disk"
loop=$(losetup -f --show "$work/disk")
number=$((7 << 20 | ${loop#/dev/loop}))
record -a -o inputs/block.data \
	-e block:block_rq_insert --filter "dev == $number" -e block:block_rq_issue --filter "dev == $number" \
	-e block:block_rq_complete --filter "dev == $number" -- \
	sh -c "dd if=/dev/zero of=$loop bs=64k count=40 oflag=direct; dd if=$loop of=/dev/null bs=4k count=60 iflag=direct; dd if=/dev/zero of=$loop bs=1M count=2 conv=fsync"
losetup -d "$loop"
loop=

# TCP: two connections over IPv4, one over IPv6, one that is refused.
cat >"$work/tcp.py" <<'PY'
import socket, threading, time
def serve(family, address):
    server = socket.socket(family)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, 18099))
    server.listen()
    def run():
        while True:
            peer, _ = server.accept()
            peer.recv(65536)
            peer.sendall(b"x" * 5000)
            peer.close()
    threading.Thread(target=run, daemon=True).start()
serve(socket.AF_INET, "127.0.0.1")
serve(socket.AF_INET6, "::1")
for address, wait in (("127.0.0.1", 0.02), ("127.0.0.1", 0.005), ("::1", 0.01)):
    client = socket.create_connection((address, 18099))
    time.sleep(wait)
    client.sendall(b"hello")
    while client.recv(65536):
        pass
    client.close()
try:
    socket.create_connection(("127.0.0.1", 18098))
except OSError:
    pass
PY
record -a -o inputs/tcp.data -e sock:inet_sock_set_state \
	--filter 'sport == 18099 || dport == 18099 || dport == 18098' -- python3 "$work/tcp.py"

# Signals: sent, ignored, fatal.
# shellcheck disable=SC2016
record -o inputs/signals.data -e signal:signal_generate -- \
	sh -c 'sleep 5 & kill -USR1 $!; trap "" HUP; kill -HUP $$; sh -c "kill -TERM \$\$"; kill -0 $$; wait; true' 2>/dev/null

# Call stacks: a program with frame pointers that divides its time.
cat >"$work/spin.c" <<'C'
#include <unistd.h>
#include <fcntl.h>
static volatile unsigned long sink;
__attribute__((noinline)) static void compute(int n) { for (int i = 0; i < n; i++) sink += i * i; }
__attribute__((noinline)) static void parse(int n) { compute(3 * n); sink++; }
__attribute__((noinline)) static void hash(int n) { compute(n); sink++; }
__attribute__((noinline)) static void request(int n) { parse(n); hash(n); sink++; }
__attribute__((noinline)) static void zero(int fd) { static char buffer[1 << 16]; for (int i = 0; i < 400; i++) sink += read(fd, buffer, sizeof(buffer)); }
int main(void) { int fd = open("/dev/zero", O_RDONLY); for (int i = 0; i < 70; i++) { request(500000); zero(fd); } return 0; }
C
gcc -O0 -fno-omit-frame-pointer -fno-optimize-sibling-calls -o "$work/spin" "$work/spin.c"
perf record -q -F 499 -g -o "$work/samples.data" -- "$work/spin" 2>/dev/null
perf script -i "$work/samples.data" 2>/dev/null | sed "s|$work|/tmp|" >inputs/samples.txt

# DNS: a server that answers from a small table, over IPv4 and IPv6, in a network namespace of its own.
ip netns add "$space"
ip -n "$space" link set lo up
ip netns exec "$space" tcpdump -q -i lo -w "$work/dns.pcap" -Z root 2>/dev/null &
capture=$!
sleep 1
ip netns exec "$space" python3 - <<'PY'
import socket, struct, threading, time
A, NS, CNAME, AAAA = 1, 2, 5, 28
def name(text):
    return b"".join(bytes([len(part)]) + part.encode() for part in text.split(".")) + b"\0"
def record(kind, data, owner=b"\xc0\x0c"):
    return owner + struct.pack("!HHIH", kind, 1, 60, len(data)) + data
TABLE = {
    ("www.example.org", A): [record(CNAME, name("web.example.org")), record(A, bytes([192, 0, 2, 80]), name("web.example.org"))],
    ("example.org", A): [record(A, bytes([192, 0, 2, 1])), record(A, bytes([192, 0, 2, 2]))],
    ("example.org", AAAA): [record(AAAA, socket.inet_pton(socket.AF_INET6, "2001:db8::1"))],
}
def serve(family, address):
    server = socket.socket(family, socket.SOCK_DGRAM)
    server.bind((address, 53))
    def run():
        while True:
            data, peer = server.recvfrom(512)
            at, parts = 12, []
            while data[at]:
                parts.append(data[at + 1 : at + 1 + data[at]].decode())
                at += 1 + data[at]
            kind = struct.unpack("!H", data[at + 1 : at + 3])[0]
            answers = TABLE.get((".".join(parts), kind))
            flags = 0x8180 if answers else 0x8183
            time.sleep(0.002 * (1 + len(answers or [])))
            head = data[:2] + struct.pack("!HHHHH", flags, 1, len(answers or []), 0, 0)
            server.sendto(head + data[12 : at + 5] + b"".join(answers or []), peer)
    threading.Thread(target=run, daemon=True).start()
serve(socket.AF_INET, "127.0.0.1")
serve(socket.AF_INET6, "::1")
for number, (question, kind, address) in enumerate((
    ("www.example.org", A, "127.0.0.1"), ("example.org", A, "127.0.0.1"), ("example.org", AAAA, "::1"), ("nobody.example.org", A, "127.0.0.1"),
)):
    client = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(2)
    client.sendto(struct.pack("!HHHHHH", 4000 + number, 0x0100, 1, 0, 0, 0) + name(question) + struct.pack("!HH", kind, 1), (address, 53))
    client.recv(512)
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.sendto(b"not dns", ("127.0.0.1", 9999))
PY
sleep 1
kill -INT "$capture"
wait "$capture" 2>/dev/null || true
cp "$work/dns.pcap" inputs/dns.pcap
chmod 644 inputs/*
ls -l inputs
