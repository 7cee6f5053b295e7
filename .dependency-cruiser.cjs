/**
 * The import rules of ARCHITECTURE.md: rooms import downwards in this list only, nobody imports in a circle, `node:` modules stay
 * in the rooms that may touch the process, front ends reach kernels through the contract alone.
 */
const ROOMS = [
  'util',
  'uapi',
  'spec',
  'contracts',
  'memory',
  'asm',
  'btf',
  'elf',
  'object',
  'compiler',
  'cbpf',
  'capture',
  'debug',
  'verifier',
  'rewrite',
  'interpreter',
  'jit',
  'maps',
  'helpers',
  'hooks',
  'kernel',
  'host',
  'libbpf',
  'bcc',
  'cli',
];
/** Rooms behind the `Kernel` contract: front ends are handed a kernel and never see these. */
const BEHIND_THE_CONTRACT = ['rewrite', 'interpreter', 'jit', 'maps', 'helpers', 'hooks', 'kernel', 'host'];
const FRONT_ENDS = ['libbpf', 'bcc', 'cli'];

const room = (name) => `^src/${name}(/|\\.ts$)`;
const anyOf = (names) => `^src/(${names.join('|')})(/|\\.ts$)`;

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    ...ROOMS.flatMap((name, index) => {
      const below = ROOMS.slice(index + 1);
      if (below.length === 0) return [];
      // The contracts are types only, and name the types of these two rooms.
      const to =
        name === 'contracts' ? below.filter((other) => other !== 'memory' && other !== 'btf') : below;
      return [
        {
          name: `${name}-imports-downwards`,
          severity: 'error',
          from: { path: room(name) },
          to: { path: anyOf(to) },
        },
      ];
    }),
    {
      name: 'front-ends-use-the-contract',
      severity: 'error',
      from: { path: anyOf(FRONT_ENDS) },
      to: { path: anyOf(BEHIND_THE_CONTRACT) },
    },
    {
      name: 'node-modules-of-the-process',
      comment: 'Everything but these runs in a browser.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(host|cli)/|^src/bin\\.ts$' },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'runtime-dependencies-are-declared',
      severity: 'error',
      from: { path: '^src/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^src/maps/wasm/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'types', 'default'],
      extensions: ['.ts', '.js'],
    },
  },
};
