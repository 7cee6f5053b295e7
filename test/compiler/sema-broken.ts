/**
 * Broken programs with what is said about them. `clang`: clang-19 reports the same severities at the same places (the
 * oracle suite checks it). Made from our own output, read one by one.
 */
export interface Broken {
  readonly text: string;
  readonly reports: readonly string[];
  readonly clang: boolean;
}

export const BROKEN: readonly Broken[] = [
  {
    text: 'int f(void) { return x; }',
    reports: ["1:22: error: use of undeclared identifier 'x'"],
    clang: true,
  },
  {
    text: 'int f(void) { int a = 1 return a; }',
    reports: ["1:24: error: expected ';' at end of declaration"],
    clang: true,
  },
  { text: 'int f(int a { return a; }', reports: ["1:13: error: expected ')'"], clang: false },
  {
    text: 'struct s { int a; }; int f(struct s *p) { return p->b; }',
    reports: ["1:53: error: no member named 'b' in 'struct s'"],
    clang: true,
  },
  {
    text: 'struct s { int count; }; int f(struct s *p) { return p->cout; }',
    reports: ["1:57: error: no member named 'cout' in 'struct s'; did you mean 'count'?"],
    clang: true,
  },
  {
    text: 'struct s { int a; } int f(void) { return 1; }',
    reports: ["1:20: error: expected ';' after struct"],
    clang: true,
  },
  {
    text: 'int f(void) { foo_t x; return 0; }',
    reports: ["1:15: error: use of undeclared identifier 'foo_t'"],
    clang: true,
  },
  { text: 'foo_t g; int h;', reports: ["1:1: error: unknown type name 'foo_t'"], clang: true },
  { text: 'int f(u32 x) { return x; }', reports: ["1:7: error: unknown type name 'u32'"], clang: true },
  {
    text: 'typedef unsigned u32; int f(u23 x) { return x; }',
    reports: ["1:29: error: unknown type name 'u23'; did you mean 'u32'?"],
    clang: true,
  },
  {
    text: 'int f(void) { return g(); }',
    reports: [
      "1:22: error: call to undeclared function 'g'; ISO C99 and later do not support implicit function declarations",
    ],
    clang: true,
  },
  {
    text: 'int g(int a); int f(void) { return g(); }',
    reports: ["1:38: error: too few arguments to function call, single argument 'a' was not specified"],
    clang: true,
  },
  {
    text: 'int g(int a); int f(void) { return g(1, 2); }',
    reports: [
      "1:41: error: too many arguments to function call, expected single argument 'a', have 2 arguments",
    ],
    clang: true,
  },
  {
    text: 'int f(void) { int x; x.a = 1; return 0; }',
    reports: ["1:23: error: member reference base type 'int' is not a structure or union"],
    clang: true,
  },
  {
    text: 'struct s { int a; }; int f(struct s v) { return v->a; }',
    reports: ["1:50: error: member reference type 'struct s' is not a pointer; did you mean to use '.'?"],
    clang: true,
  },
  {
    text: 'struct s { int a; }; int f(struct s *v) { return v.a; }',
    reports: ["1:51: error: member reference type 'struct s *' is a pointer; did you mean to use '->'?"],
    clang: true,
  },
  {
    text: 'int f(int *p) { int x = p; return x; }',
    reports: [
      "1:21: error: incompatible pointer to integer conversion initializing 'int' with an expression of type 'int *'; dereference with *",
    ],
    clang: true,
  },
  {
    text: 'int f(int x) { int *p = x; return *p; }',
    reports: [
      "1:21: error: incompatible integer to pointer conversion initializing 'int *' with an expression of type 'int'; take the address with &",
    ],
    clang: true,
  },
  {
    text: 'int f(char *c) { int *p = c; return *p; }',
    reports: [
      "1:23: warning: incompatible pointer types initializing 'int *' with an expression of type 'char *'",
    ],
    clang: true,
  },
  {
    text: 'int f(const int *c) { int *p = c; return *p; }',
    reports: [
      "1:28: warning: initializing 'int *' with an expression of type 'const int *' discards qualifiers",
    ],
    clang: true,
  },
  {
    text: 'int f(const int c) { c = 1; return c; }',
    reports: ["1:24: error: cannot assign to variable 'c' with const-qualified type 'const int'"],
    clang: true,
  },
  {
    text: 'int f(void) { 1 = 2; return 0; }',
    reports: ['1:17: error: expression is not assignable'],
    clang: true,
  },
  {
    text: 'int f(void) { break; }',
    reports: ["1:15: error: 'break' statement not in loop or switch statement"],
    clang: true,
  },
  {
    text: 'int f(void) { continue; return 1; }',
    reports: ["1:15: error: 'continue' statement not in loop statement"],
    clang: true,
  },
  {
    text: 'int f(int x) { switch (x) { case 1: return 1; case 1: return 2; } return 0; }',
    reports: ["1:52: error: duplicate case value '1'"],
    clang: true,
  },
  {
    text: 'int f(int x) { case 1: return 0; }',
    reports: ["1:16: error: 'case' statement not in switch statement"],
    clang: true,
  },
  {
    text: 'int f(int x) { goto out; return 0; }',
    reports: ["1:21: error: use of undeclared label 'out'"],
    clang: true,
  },
  {
    text: 'void f(void) { return 1; }',
    reports: ["1:16: error: void function 'f' should not return a value"],
    clang: true,
  },
  {
    text: 'int f(void) { return; }',
    reports: ["1:15: error: non-void function 'f' should return a value"],
    clang: true,
  },
  {
    text: 'int f(int x) { if (x) return 1; }',
    reports: ['1:33: warning: non-void function does not return a value in all control paths'],
    clang: true,
  },
  { text: 'int f(int x) { int x; return x; }', reports: ["1:20: error: redefinition of 'x'"], clang: true },
  {
    text: 'int f(void) { int a; int a; return a; }',
    reports: ["1:26: error: redefinition of 'a'"],
    clang: true,
  },
  {
    text: 'int a; char *a;',
    reports: ["1:14: error: redefinition of 'a' with a different type: 'char *' vs 'int'"],
    clang: true,
  },
  { text: 'int f(int); char *f(int);', reports: ["1:19: error: conflicting types for 'f'"], clang: true },
  {
    text: 'struct s; int f(void) { struct s v; return 0; }',
    reports: ["1:34: error: variable has incomplete type 'struct s'"],
    clang: true,
  },
  {
    text: 'struct s; int f(struct s *p) { return p->x; }',
    reports: ["1:40: error: incomplete definition of type 'struct s'"],
    clang: true,
  },
  {
    text: 'struct s; int f(void) { return sizeof(struct s); }',
    reports: ["1:32: error: invalid application of 'sizeof' to an incomplete type 'struct s'"],
    clang: true,
  },
  { text: 'struct s { int a; int a; };', reports: ["1:23: error: duplicate member 'a'"], clang: true },
  {
    text: 'struct s { int a; }; struct s { int b; };',
    reports: ["1:29: error: redefinition of 's'"],
    clang: true,
  },
  { text: 'enum e { A, B, A };', reports: ["1:16: error: redefinition of enumerator 'A'"], clang: true },
  { text: 'int a[-1];', reports: ["1:7: error: 'a' declared as an array with a negative size"], clang: true },
  {
    text: 'int f(void) { int a[2]; return a[5]; }',
    reports: ["1:32: warning: array index 5 is past the end of the array (that has type 'int[2]')"],
    clang: true,
  },
  {
    text: 'int f(void) { return *3; }',
    reports: ["1:22: error: indirection requires pointer operand ('int' invalid)"],
    clang: true,
  },
  {
    text: 'int f(int x) { return x(); }',
    reports: ["1:23: error: called object type 'int' is not a function or function pointer"],
    clang: false,
  },
  {
    text: 'int f(int x) { return &x + &x; }',
    reports: ["1:26: error: invalid operands to binary expression ('int *' and 'int *')"],
    clang: true,
  },
  {
    text: 'struct s { int a; }; int f(struct s a, struct s b) { return a + b; }',
    reports: ["1:63: error: invalid operands to binary expression ('struct s' and 'struct s')"],
    clang: true,
  },
  {
    text: 'struct s { int a; }; int f(struct s a) { if (a) return 1; return 0; }',
    reports: ["1:42: error: statement requires expression of scalar type ('struct s' invalid)"],
    clang: true,
  },
  {
    text: 'struct s { int a:40; };',
    reports: ["1:16: error: width of bit-field 'a' (40 bits) exceeds the width of its type (32 bits)"],
    clang: true,
  },
  {
    text: 'struct s { int a:0; };',
    reports: ["1:16: error: named bit-field 'a' has zero width"],
    clang: true,
  },
  {
    text: 'struct s { float a:3; };',
    reports: ["1:18: error: bit-field 'a' has non-integral type 'float'"],
    clang: true,
  },
  {
    text: 'struct s { int a:3; }; int *f(struct s *p) { return &p->a; }',
    reports: ['1:53: error: address of bit-field requested'],
    clang: true,
  },
  { text: 'int f(void) { return sizeof(int; }', reports: ["1:32: error: expected ')'"], clang: true },
  {
    text: 'int f(void) { if (1 { return 1; } return 0; }',
    reports: ["1:21: error: expected ')'"],
    clang: true,
  },
  {
    text: 'int f(void) { while (1) return 1 }',
    reports: ["1:33: error: expected ';' after return statement"],
    clang: true,
  },
  {
    text: 'int f(void) { for (int i = 0; i < 3, i++) ; return 0; }',
    reports: ["1:41: error: expected ';' in 'for' statement specifier"],
    clang: false,
  },
  { text: 'int f(void) { return 1 + ; }', reports: ['1:26: error: expected expression'], clang: true },
  { text: 'int f(void) { return (1 + 2; }', reports: ["1:28: error: expected ')'"], clang: true },
  {
    text: 'int f(void) { int a[] = {1, 2, 3; return a[0]; }',
    reports: ["1:33: error: expected '}'"],
    clang: true,
  },
  {
    text: 'int f(void) { char c = "abc"; return c; }',
    reports: [
      "1:20: error: incompatible pointer to integer conversion initializing 'char' with an expression of type 'char[4]'",
    ],
    clang: true,
  },
  {
    text: 'char s[3] = "abcdef";',
    reports: ['1:13: warning: initializer-string for char array is too long'],
    clang: true,
  },
  {
    text: 'int a[2] = {1, 2, 3};',
    reports: ['1:19: warning: excess elements in array initializer'],
    clang: true,
  },
  {
    text: 'struct s { int a, b; } x = { .c = 1 };',
    reports: ["1:31: error: field designator 'c' does not refer to any field in type 'struct s'"],
    clang: true,
  },
  {
    text: 'int y; int x = y;',
    reports: ['1:16: error: initializer element is not a compile-time constant'],
    clang: true,
  },
  {
    text: '_Static_assert(1 == 2, "no");',
    reports: ['1:16: error: static assertion failed: no'],
    clang: true,
  },
  { text: '_Static_assert(sizeof(int) == 4);', reports: [], clang: false },
  {
    text: 'int f(void) { int *p = 0; return p * 2; }',
    reports: ["1:36: error: invalid operands to binary expression ('int *' and 'int')"],
    clang: true,
  },
  {
    text: 'int f(void) { int x = 08; return x; }',
    reports: ["1:23: error: invalid digit '8' in octal constant"],
    clang: false,
  },
  {
    text: 'int f(void) { int x = 1zz; return x; }',
    reports: ["1:23: error: invalid suffix 'zz' on integer constant"],
    clang: false,
  },
  {
    text: "int f(void) { return 'ab; }",
    reports: [
      "1:22: warning: missing terminating ' character",
      '1:22: error: expected expression',
      "1:28: error: expected '}'",
    ],
    clang: true,
  },
  { text: 'int f(void) {', reports: ["1:14: error: expected '}'"], clang: true },
  {
    text: 'int f(void) { return 0; } }',
    reports: ["1:27: error: extraneous closing brace ('}')"],
    clang: true,
  },
  { text: 'struct { int a;', reports: ["1:16: error: expected '}'"], clang: false },
  {
    text: 'int f(void) { do { } (1); return 0; }',
    reports: ["1:22: error: expected 'while' in do/while loop"],
    clang: true,
  },
  { text: 'int f(void) { else return 0; }', reports: ['1:15: error: expected expression'], clang: true },
  {
    text: 'typedef int T; int f(void) { return T; }',
    reports: ["1:37: error: unexpected type name 'T': expected expression"],
    clang: true,
  },
  {
    text: 'typedef int T; typedef long T;',
    reports: ["1:29: error: typedef redefinition with different types ('long' vs 'int')"],
    clang: true,
  },
  {
    text: 'int f(void), g(void) { return 1; }',
    reports: ["1:21: error: expected ';' after top level declarator"],
    clang: true,
  },
  {
    text: 'struct s { int a; }; int f(void) { s x; return 0; }',
    reports: ["1:36: error: must use 'struct' tag to refer to type 's'"],
    clang: true,
  },
  {
    text: 'struct s { int a; }; s x;',
    reports: ["1:22: error: must use 'struct' tag to refer to type 's'"],
    clang: true,
  },
  {
    text: 'static int f(void); int g(void) { return f(); }',
    reports: ["1:12: warning: function 'f' has internal linkage but is not defined"],
    clang: true,
  },
  {
    text: 'int f(void *p) { return p->x; }',
    reports: ["1:26: error: member reference base type 'void' is not a structure or union"],
    clang: true,
  },
  {
    text: 'int f(void *p) { return *p; }',
    reports: ["1:25: error: returning 'void' from a function with incompatible result type 'int'"],
    clang: false,
  },
  {
    text: 'int f(int a, int a) { return a; }',
    reports: ["1:18: error: redefinition of parameter 'a'"],
    clang: false,
  },
  {
    text: 'int f(void) { int n = 3; int a[n]; return sizeof(a); }',
    reports: ["1:30: error: variable length array 'a' is not supported on BPF: the stack has a fixed layout"],
    clang: false,
  },
  {
    text: 'int f(int x) { return x ? 1 : "a"; }',
    reports: [
      "1:25: warning: pointer/integer type mismatch in conditional expression ('int' and 'char *')",
      "1:23: error: incompatible pointer to integer conversion returning 'char *' from a function with result type 'int'",
    ],
    clang: true,
  },
  {
    text: 'void g(void); int f(void) { int x = g(); return x; }',
    reports: ["1:33: error: initializing 'int' with an expression of incompatible type 'void'"],
    clang: true,
  },
  {
    text: 'void g(void); int f(void) { return g() + 1; }',
    reports: ["1:40: error: invalid operands to binary expression ('void' and 'int')"],
    clang: true,
  },
  {
    text: 'int f(struct undefined *p) { return 0; }',
    reports: [
      "1:14: warning: declaration of 'struct undefined' will not be visible outside of this function",
    ],
    clang: true,
  },
  {
    text: 'int f(int x) { switch (x) { default: break; default: break; } return 0; }',
    reports: ['1:29: error: multiple default labels in one switch'],
    clang: true,
  },
  {
    text: 'int f(char *p) { switch (p) { case 0: return 1; } return 0; }',
    reports: ["1:18: error: statement requires expression of integer type ('char *' invalid)"],
    clang: true,
  },
  {
    text: 'extern int foo(int x)\nint bar(void) { return 0; }',
    reports: ["1:22: error: expected ';' after top level declarator"],
    clang: true,
  },
  {
    text: 'int x = 5\nint y = 6;',
    reports: ["1:10: error: expected ';' after top level declarator"],
    clang: true,
  },
  {
    text: '#define M(x) x +\nint f(void) { return M(1); }',
    reports: ['2:26: error: expected expression'],
    clang: true,
  },
  {
    text: 'int f(int x) { lab: return 0; lab: return 1; }',
    reports: ["1:31: error: redefinition of label 'lab'"],
    clang: true,
  },
  {
    text: 'int f(void) { int x = { 1, 2 }; return x; }',
    reports: ['1:28: warning: excess elements in scalar initializer'],
    clang: true,
  },
  {
    text: 'union u { int a; long b; }; int f(union u v) { return v.c; }',
    reports: ["1:57: error: no member named 'c' in 'union u'"],
    clang: true,
  },
  {
    text: 'int f(int n) { return n.x; }',
    reports: ["1:24: error: member reference base type 'int' is not a structure or union"],
    clang: true,
  },
  {
    text: 'struct a { struct a x; };',
    reports: ["1:21: error: field has incomplete type 'struct a'"],
    clang: true,
  },
  {
    text: 'int f(void) { return __builtin_nope(1); }',
    reports: ["1:22: error: use of unknown builtin '__builtin_nope'"],
    clang: true,
  },
  {
    text: 'int f(int *p) { return __sync_fetch_and_add(p); }',
    reports: ['1:46: error: too few arguments to function call, expected at least 2, have 1'],
    clang: true,
  },
  {
    text: 'int f(int p) { return __sync_fetch_and_add(p, 1); }',
    reports: ["1:44: error: address argument to atomic builtin must be a pointer ('int' invalid)"],
    clang: false,
  },
  {
    text: 'void f(void) { void x; }',
    reports: ["1:21: error: variable has incomplete type 'void'"],
    clang: true,
  },
  {
    text: 'int f(int x) { return x +* 3; }',
    reports: ["1:26: error: indirection requires pointer operand ('int' invalid)"],
    clang: true,
  },
  {
    text: 'int f(int x, y) { return x; }',
    reports: [
      "1:14: error: type specifier missing, defaults to 'int'; ISO C99 and later do not support implicit int",
    ],
    clang: true,
  },
  {
    text: 'int f(x, y) { return x; }',
    reports: [
      '1:7: error: a parameter list without types is only allowed in a function definition, and definitions in that style are not supported',
    ],
    clang: false,
  },
  {
    text: 'int f(x) int x; { return x; }',
    reports: [
      '1:7: error: a parameter list without types is only allowed in a function definition, and definitions in that style are not supported',
      "1:17: error: expected identifier or '('",
    ],
    clang: false,
  },
  {
    text: 'int main_(void) { int i; for (i = 0; i < 10; i++ { } return 0; }',
    reports: ["1:50: error: expected ')'"],
    clang: true,
  },
  {
    text: 'struct s { int x } ;',
    reports: ["1:17: warning: expected ';' at end of declaration list"],
    clang: true,
  },
  { text: 'enum { A = 1 B = 2 };', reports: ["1:13: error: missing ',' between enumerators"], clang: true },
  {
    text: 'int f(void) { struct { int a; } v = { .a = 1, .b = 2 }; return v.a; }',
    reports: [
      "1:48: error: field designator 'b' does not refer to any field in type 'struct (unnamed struct at main.c:1:15)'",
    ],
    clang: true,
  },
  {
    text: 'int f(void) { int a[3] = { [5] = 1 }; return a[0]; }',
    reports: ['1:29: error: array designator index (5) exceeds array bounds (3)'],
    clang: true,
  },
  {
    text: 'long f(int *p, long *q) { return p - q; }',
    reports: ["1:36: error: 'int *' and 'long *' are not pointers to compatible types"],
    clang: true,
  },
  {
    text: 'int f(int *p, long *q) { return p == q; }',
    reports: ["1:35: warning: comparison of distinct pointer types ('int *' and 'long *')"],
    clang: true,
  },
  {
    text: 'int f(int *p, int q) { return p == q; }',
    reports: ["1:33: warning: comparison between pointer and integer ('int *' and 'int')"],
    clang: true,
  },
  {
    text: 'static int x; int x;',
    reports: ["1:19: error: non-static declaration of 'x' follows static declaration"],
    clang: true,
  },
  {
    text: 'int x; static int x;',
    reports: ["1:19: error: static declaration of 'x' follows non-static declaration"],
    clang: true,
  },
  {
    text: 'inline int f(void) { return 1; } int f(void) { return 2; }',
    reports: ["1:38: error: redefinition of 'f'"],
    clang: true,
  },
  {
    text: 'int f(unsigned x) { if (x = 3) return 1; return 0; }',
    reports: ['1:27: warning: using the result of an assignment as a condition without parentheses'],
    clang: true,
  },
  { text: 'int f(void) { 5; return 0; }', reports: ['1:15: warning: expression result unused'], clang: true },
  {
    text: 'int f(int x) { x == 3; return 0; }',
    reports: ['1:18: warning: equality comparison result unused'],
    clang: true,
  },
  {
    text: 'int f(int x) { return x / 0; }',
    reports: ['1:25: warning: division by zero is undefined'],
    clang: true,
  },
  {
    text: 'int f(int x) { return x << 40; }',
    reports: ['1:25: warning: shift count >= width of type'],
    clang: true,
  },
  {
    text: 'int f(void) { unsigned char c = 300; return c; }',
    reports: [
      "1:33: warning: implicit conversion from 'int' to 'unsigned char' changes value from 300 to 44",
    ],
    clang: true,
  },
  {
    text: 'int f(void) { int (*p)(int) = 0; return p(1, 2); }',
    reports: ['1:46: error: too many arguments to function call, expected 1, have 2'],
    clang: true,
  },
  {
    text: 'int g(char *s); int f(void) { return g(5); }',
    reports: [
      "1:40: error: incompatible integer to pointer conversion passing 'int' to parameter of type 'char *'",
    ],
    clang: true,
  },
  {
    text: 'int g(int s); int f(void) { return g("x"); }',
    reports: [
      "1:38: error: incompatible pointer to integer conversion passing 'char[2]' to parameter of type 'int'",
    ],
    clang: true,
  },
  {
    text: 'struct s { int a; }; int g(struct s v); int f(void) { return g(1); }',
    reports: ["1:64: error: passing 'int' to parameter of incompatible type 'struct s'"],
    clang: true,
  },
  {
    text: 'struct s { int a; }; struct s f(void) { return 1; }',
    reports: ["1:48: error: returning 'int' from a function with incompatible result type 'struct s'"],
    clang: true,
  },
  {
    text: 'int f(void) { int x = 1; { int y = x; } return y; }',
    reports: ["1:48: error: use of undeclared identifier 'y'"],
    clang: true,
  },
  {
    text: 'int f(void) { return sizeof(struct nope); }',
    reports: ["1:22: error: invalid application of 'sizeof' to an incomplete type 'struct nope'"],
    clang: true,
  },
  {
    text: 'int f(int a[static 3]) { return a[0]; } int b = f;',
    reports: [
      "1:45: error: incompatible pointer to integer conversion initializing 'int' with an expression of type 'int (int *)'",
      '1:49: error: initializer element is not a compile-time constant',
    ],
    clang: true,
  },
  {
    text: 'int f(void) { int a[3]; a = 0; return 0; }',
    reports: ["1:27: error: array type 'int[3]' is not assignable"],
    clang: true,
  },
  {
    text: 'int f(void) { asm volatile("r0 = 1" : "r"(1)); return 0; }',
    reports: [
      "1:39: error: invalid output constraint 'r' in asm",
      '1:43: error: invalid lvalue in asm output',
    ],
    clang: false,
  },
  {
    text: 'int f(void) { char *s = "abc; return 0; }',
    reports: [
      "1:25: warning: missing terminating '\"' character",
      '1:25: error: expected expression',
      "1:42: error: expected '}'",
    ],
    clang: false,
  },
  {
    text: 'int *f(void) { int x = 1; return &x; }',
    reports: ["1:35: warning: address of stack memory associated with local variable 'x' returned"],
    clang: true,
  },
  { text: '@ int x;', reports: ["1:1: error: expected identifier or '('"], clang: true },
  { text: 'int f(void) { int $x = 1; return $x; }', reports: [], clang: true },
  { text: 'int 3x;', reports: ["1:5: error: expected identifier or '('"], clang: true },
  {
    text: 'const x = 3;',
    reports: [
      "1:7: error: type specifier missing, defaults to 'int'; ISO C99 and later do not support implicit int",
    ],
    clang: true,
  },
  {
    text: 'f(void) { return 1; }',
    reports: [
      "1:1: error: type specifier missing, defaults to 'int'; ISO C99 and later do not support implicit int",
    ],
    clang: true,
  },
  {
    text: 'static y;',
    reports: [
      "1:8: error: type specifier missing, defaults to 'int'; ISO C99 and later do not support implicit int",
    ],
    clang: true,
  },
  {
    text: 'static long (*const bpf_ktime_get)(void) = (void *)5; int f(void) { return bpf_ktime_gt(); }',
    reports: [
      "1:76: error: call to undeclared function 'bpf_ktime_gt'; ISO C99 and later do not support implicit function declarations",
    ],
    clang: true,
  },
  {
    text: 'int f(void) __attribute__((alwaysinline)); int f(void) { return 1; }',
    reports: ["1:28: warning: unknown attribute 'alwaysinline' ignored"],
    clang: true,
  },
  {
    text: 'int f(const char *p) { return p == "sh"; }',
    reports: [
      '1:33: warning: result of comparison against a string literal is unspecified (use an explicit string comparison function instead)',
    ],
    clang: true,
  },
];
