#!/usr/bin/env bash
# Records examples/inputs anew: real commands under strace, real traffic between two network namespaces of its own.
# Needs root and the Debian packages strace, tcpdump, iproute2, python3. The recordings are committed.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p inputs
work=$(mktemp -d)
a=tsbpf-a-$$ b=tsbpf-b-$$
cleanup() {
	ip netns pids "$a" 2>/dev/null | xargs -r kill 2>/dev/null || true
	ip netns pids "$b" 2>/dev/null | xargs -r kill 2>/dev/null || true
	ip netns del "$a" 2>/dev/null || true
	ip netns del "$b" 2>/dev/null || true
	rm -rf "$work"
}
trap cleanup EXIT

# Commands: a shell that lists, searches, writes, fails to find a file, and runs something as another user.
cd "$work"
env -i PATH=/usr/bin:/bin HOME=/ strace -f -ttt -s 80 -o commands.strace -e trace='!rt_sigaction,rt_sigprocmask,mprotect,mmap,munmap,brk,pread64,fstat,newfstatat,arch_prctl,prlimit64,rseq,set_robust_list,set_tid_address,getrandom' \
	sh -c 'ls / > list; grep -c e list; cat list | sort | head -3; /no/such/program; setpriv --reuid=1000 --clear-groups id -u; rm list' >/dev/null 2>&1 || true
cd - >/dev/null
cp "$work/commands.strace" inputs/commands.strace

# Traffic: ping, UDP, TCP, IPv6 and a "blocked" source address, over one veth pair.
ip netns add "$a"
ip netns add "$b"
ip link add veth-a netns "$a" type veth peer name veth-b netns "$b"
ip -n "$a" addr add 10.0.0.1/24 dev veth-a
ip -n "$a" addr add 10.66.0.1/16 dev veth-a
ip -n "$a" addr add fd00::1/64 dev veth-a nodad
ip -n "$b" addr add 10.0.0.2/24 dev veth-b
ip -n "$b" addr add 10.66.0.2/16 dev veth-b
ip -n "$b" addr add fd00::2/64 dev veth-b nodad
for ns in "$a" "$b"; do ip -n "$ns" link set lo up; done
ip -n "$a" link set veth-a up
ip -n "$b" link set veth-b up
ip netns exec "$b" tcpdump -q -i veth-b -w "$work/traffic.pcap" -Z root 2>/dev/null &
capture=$!
sleep 1
ip netns exec "$b" python3 - <<'PY' &
import socket, threading, time
def tcp():
    server = socket.create_server(("10.0.0.2", 8080))
    for _ in range(2):
        peer, _ = server.accept()
        request = peer.recv(4096)
        peer.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 2000)
        peer.close()
def udp():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("", 5353))
    while True:
        data, peer = server.recvfrom(2048)
        server.sendto(data.upper(), peer)
threading.Thread(target=udp, daemon=True).start()
threading.Thread(target=tcp, daemon=True).start()
time.sleep(4)
PY
sleep 1
ip netns exec "$a" python3 - <<'PY'
import socket, struct
for _ in range(2):
    s = socket.create_connection(("10.0.0.2", 8080), timeout=2)
    s.sendall(b"GET / HTTP/1.0\r\n\r\n")
    while s.recv(4096):
        pass
    s.close()
for source, target in (("10.0.0.1", "10.0.0.2"), ("10.66.0.1", "10.66.0.2")):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((source, 0))
    s.settimeout(1)
    for i in range(8):
        s.sendto(b"query %d" % i, (target, 5353))
        s.recv(2048)
def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
for source, target in (("10.0.0.1", "10.0.0.2"), ("10.66.0.1", "10.66.0.2")):
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    s.bind((source, 0))
    for i in range(5):
        body = struct.pack("!BBHHH", 8, 0, 0, 7, i) + b"tsbpf echo"
        body = struct.pack("!BBHHH", 8, 0, checksum(body), 7, i) + b"tsbpf echo"
        s.sendto(body, (target, 0))
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
for i in range(4):
    s.sendto(b"six %d" % i, ("fd00::2", 9999))
PY
sleep 1
kill -INT "$capture"
wait "$capture" 2>/dev/null || true
cp "$work/traffic.pcap" inputs/traffic.pcap
ls -l inputs
