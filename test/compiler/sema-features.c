typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64; typedef int s32;
enum e { E0, E1 = 5, E2 }; enum big { B0 = 0x1ffffffffull, B1 };
struct in6 { union { u8 b[16]; u32 w[4]; }; };
struct __attribute__((packed)) hdr { u8 a:4, b:4; u16 c; u32 d; };
struct node { struct node *next; int (*fn)(struct node *, int); struct { int x, y; } pos; const char *name; int flex[]; };
struct task { int pid; struct task *parent; char comm[16]; struct { int a; } in; } __attribute__((preserve_access_index));
#define SEC(n) __attribute__((section(n), used))
struct { int (*type)[1]; u32 *key; u64 *value; } map SEC(".maps");
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *) 1;
static long (*bpf_trace_printk)(const char *fmt, u32 n, ...) = (void *) 6;
static __attribute__((always_inline)) int add(int a, int b) { return a + b; }
const volatile int cfg = 3; int arr[4][3] = { {1}, [2] = { [1] = 7 }, [3] = {1, 2, 3} };
char text[] = "hi" "there"; const char *ptrs[] = { "a", [2] = "c", text + 1 };
struct node nodes[2] = { [0].pos.y = 3, [1] = { .name = "n", .pos = { 1, 2 } } };
int sum(const int *p, unsigned n) { int s = 0; for (unsigned i = 0; i < n; ++i) { if (p[i] < 0) continue; s += p[i]; } return s; }
SEC("kprobe") int prog(struct task *ctx) {
  u64 key = ctx->parent->pid, *v; struct hdr h = { .a = 1, .d = ctx->in.a }; u32 x = h.a << 3 | h.b;
  v = bpf_map_lookup_elem(&map, &key);
  if (!v) return 0; else if (*v > 10 && x) goto out;
  __sync_fetch_and_add(v, 1); *v += x--; ({ int q = 3; q; });
  switch (x) { case 0 ... 4: x = 1; break; case E2: case 9: x ^= ~x; default: ; }
  do { x >>= 1; } while (x > 3); while (1) { if (x++ > 5) break; }
  char fmt[] = "%d\n"; bpf_trace_printk(fmt, sizeof(fmt), x ? x : -1);
  asm volatile("%0 = %1" : "=r"(x) : "ri"(5), "r"(key) : "memory");
  struct node n = (struct node){ .pos.x = 1 }; typeof(n.pos.x) k = __builtin_offsetof(struct node, pos.y);
  int z = _Generic(k, int: 1, default: 2) + __builtin_preserve_field_info(ctx->pid, 2) + sum(arr[1], 3) + add(k, (int) x);
  __auto_type w = &n.pos; w->y = *(volatile int *) &z; u16 t = __builtin_bswap16(h.c); (void) t;
#pragma unroll
  for (int i = 0; i < 4; i++) z += arr[i][i % 3];
  return z + __builtin_popcount(x) + (int) key + !!v + (w == &n.pos) + text[1] + sizeof(struct in6);
out:
  return E1 ?: -1;
}
