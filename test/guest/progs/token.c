/*
 * A process in a user namespace of its own makes a BPF token and uses it: what may it do with it, and without it? Node cannot do this
 * itself: a process with threads does not leave its user namespace.
 *
 * token OPTION=VALUE... prints one line a question, `name: 0` or `name: -errno`. The options are mount options of the bpffs, which the
 * parent, outside of the namespace, sets; `caps=bpf` leaves the child that capability alone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TOKEN_CREATE 36
#define F_TOKEN_FD (1U << 16)
#define CAP_BPF_NR 39
enum { FSCONFIG_STRING = 1, FSCONFIG_CREATE = 6 };

/* union bpf_attr of 6.9, by offset: the headers of the build machine may be older. */
static char attr[160];
static void u32(int at, unsigned value) { memcpy(attr + at, &value, 4); }
static void u64(int at, const void *pointer) { memcpy(attr + at, &pointer, 8); }
static void clear(void) { memset(attr, 0, sizeof(attr)); }
static long bpf(int command) { long r = syscall(__NR_bpf, command, attr, sizeof(attr)); return r < 0 ? -errno : r; }

static void say(const char *name, long result)
{
	printf("%s: %ld\n", name, result < 0 ? result : 0);
	if (result > 2) close(result);
}

static void map(const char *name, int type, int key, int flags, int token)
{
	char line[64];
	clear();
	u32(0, type); u32(4, key); u32(8, 8); u32(12, 1); u32(16, flags);
	snprintf(line, sizeof(line), "map %s", name);
	say(line, bpf(BPF_MAP_CREATE));
	if (token < 0) return;
	u32(16, flags | F_TOKEN_FD); u32(76, token);
	snprintf(line, sizeof(line), "map %s token", name);
	say(line, bpf(BPF_MAP_CREATE));
}

static const unsigned long long zero[] = { 0x00000000000000b7ULL, 0x95 };
/* r1 = r10; if r1 == 0 goto +1; r2 = *(u64 *)(r10 - 8); r0 = 0; exit: needs CAP_PERFMON */
static const unsigned long long leak[] = {
	0x000000000000a1bfULL, 0x0000000000010115ULL, 0x00000000fff8a279ULL, 0x00000000000000b7ULL, 0x95 };

static void program(const char *name, const void *insns, int count, int type, int attach, int token)
{
	char line[64];
	clear();
	u32(0, type); u32(4, count); u64(8, insns); u64(16, "GPL"); u32(68, attach);
	snprintf(line, sizeof(line), "program %s", name);
	say(line, bpf(BPF_PROG_LOAD));
	if (token < 0) return;
	u32(44, F_TOKEN_FD); u32(144, token);
	snprintf(line, sizeof(line), "program %s token", name);
	say(line, bpf(BPF_PROG_LOAD));
}

static void types(int token)
{
	/* One type: int. */
	static const struct {
		unsigned short magic;
		unsigned char version, flags;
		unsigned header, type_off, type_len, str_off, str_len, type[4];
		char strings[5];
	} __attribute__((packed)) btf = {
		0xeb9f, 1, 0, 24, 0, 16, 16, 5, { 1, 0x01000000, 4, 0x01000020 }, "\0int" };
	clear();
	u64(0, &btf); u32(16, sizeof(btf));
	say("types", bpf(BPF_BTF_LOAD));
	if (token < 0) return;
	u32(32, F_TOKEN_FD); u32(36, token);
	say("types token", bpf(BPF_BTF_LOAD));
}

static void only_bpf(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2] = {};
	data[1].effective = data[1].permitted = 1U << (CAP_BPF_NR - 32);
	syscall(__NR_capset, &header, data);
}

/* A descriptor goes along with a byte. */
static void hand(int line, int fd)
{
	struct iovec iov = { "", 1 };
	char room[CMSG_SPACE(sizeof(int))] = {};
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room) };
	struct cmsghdr *control = CMSG_FIRSTHDR(&message);
	control->cmsg_level = SOL_SOCKET;
	control->cmsg_type = SCM_RIGHTS;
	control->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(control), &fd, sizeof(int));
	sendmsg(line, &message, 0);
}

static int take(int line)
{
	char byte, room[CMSG_SPACE(sizeof(int))] = {};
	struct iovec iov = { &byte, 1 };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room) };
	int fd = -1;
	if (recvmsg(line, &message, 0) > 0 && CMSG_FIRSTHDR(&message) != NULL)
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
	return fd;
}

static int child(int line, const char *caps)
{
	char byte;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS)) { say("unshare", -errno); return 1; }
	write(line, "", 1);
	read(line, &byte, 1);
	int fs = syscall(__NR_fsopen, "bpf", 0);
	hand(line, fs);
	/* What fsmount gives stands for a place only. */
	int mount = openat(take(line), ".", O_RDONLY), first = openat(take(line), ".", O_RDONLY);
	if (!strcmp(caps, "bpf")) only_bpf();
	clear();
	u32(0, 1); u32(4, mount);
	say("token with flags", bpf(TOKEN_CREATE));
	clear();
	u32(4, 99);
	say("token of nothing", bpf(TOKEN_CREATE));
	clear();
	u32(4, open("/", O_RDONLY));
	say("token of another file system", bpf(TOKEN_CREATE));
	clear();
	u32(4, first);
	say("token of the first namespace", bpf(TOKEN_CREATE));
	clear();
	u32(4, mount);
	int token = bpf(TOKEN_CREATE);
	printf("token: %d\n", token < 0 ? token : 0);
	map("array", BPF_MAP_TYPE_ARRAY, 4, 0, token);
	map("hash", BPF_MAP_TYPE_HASH, 4, 0, token);
	map("lpm_trie", BPF_MAP_TYPE_LPM_TRIE, 8, 1, token);
	map("devmap", BPF_MAP_TYPE_DEVMAP, 4, 0, token);
	program("socket_filter", zero, 2, BPF_PROG_TYPE_SOCKET_FILTER, 0, token);
	program("xdp", zero, 2, BPF_PROG_TYPE_XDP, 0, token);
	program("xdp for a device", zero, 2, BPF_PROG_TYPE_XDP, 37, token);
	program("kprobe", zero, 2, BPF_PROG_TYPE_KPROBE, 0, token);
	program("tracepoint", zero, 2, BPF_PROG_TYPE_TRACEPOINT, 0, token);
	program("leak", leak, 5, BPF_PROG_TYPE_SOCKET_FILTER, 0, token);
	types(token);
	clear();
	u32(0, BPF_MAP_TYPE_ARRAY); u32(4, 4); u32(8, 8); u32(12, 1); u32(16, F_TOKEN_FD); u32(76, mount);
	say("map with a directory for a token", bpf(BPF_MAP_CREATE));
	u32(76, 99);
	say("map with nothing for a token", bpf(BPF_MAP_CREATE));
	return 0;
}

static void put(const char *format, int pid, const char *text)
{
	char path[64];
	snprintf(path, sizeof(path), format, pid);
	int fd = open(path, O_WRONLY);
	write(fd, text, strlen(text));
	close(fd);
}

int main(int argc, char **argv)
{
	int line[2];
	char byte, *caps = "all";
	setbuf(stdout, NULL);
	socketpair(AF_UNIX, SOCK_STREAM, 0, line);
	for (int i = 1; i < argc; i++) if (!strncmp(argv[i], "caps=", 5)) caps = argv[i] + 5;
	int pid = fork();
	if (pid == 0) return child(line[1], caps);
	close(line[1]);
	read(line[0], &byte, 1);
	put("/proc/%d/setgroups", pid, "deny");
	put("/proc/%d/uid_map", pid, "0 0 1");
	put("/proc/%d/gid_map", pid, "0 0 1");
	write(line[0], "", 1);
	int fs = take(line[0]);
	for (int i = 1; i < argc; i++) {
		char *value = strchr(argv[i], '=');
		if (value == NULL || !strncmp(argv[i], "caps=", 5)) continue;
		*value++ = 0;
		long r = syscall(__NR_fsconfig, fs, FSCONFIG_STRING, argv[i], value, 0);
		printf("option %s: %d\n", argv[i], r < 0 ? -errno : 0);
	}
	if (syscall(__NR_fsconfig, fs, FSCONFIG_CREATE, NULL, NULL, 0)) say("mount", -errno);
	hand(line[0], syscall(__NR_fsmount, fs, 0, 0));
	fs = syscall(__NR_fsopen, "bpf", 0);
	syscall(__NR_fsconfig, fs, FSCONFIG_CREATE, NULL, NULL, 0);
	hand(line[0], syscall(__NR_fsmount, fs, 0, 0));
	int status = 0;
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}
