/** Values through variables: while blocks are copied, SSA does not hold; `construct` in `promote.ts` makes it again. */
import { type Block, bitsOf, type Func, Inst, type MemType, setArg } from '../ir/index.ts';

/** Uses of a value outside of some blocks go through a variable. Gives the variable where there were any. */
export function demote(func: Func, value: Inst, inside: (block: Block) => boolean): Inst | undefined {
  const users = [...value.users].filter((user) =>
    user.op === 'phi'
      ? user.args.some((arg, i) => arg === value && !inside(user.targets[i]!))
      : !inside(user.block!),
  );
  if (users.length === 0 || value.type === 'void' || value.type === 'i1') return undefined;
  const home = newHome(func, value);
  for (const user of users) {
    if (user.op === 'phi') {
      user.args.forEach((arg, i) => {
        const from = user.targets[i]!;
        if (arg !== value || inside(from)) return;
        const load = loadOf(home, from, user);
        from.insts.splice(from.insts.length - 1, 0, load);
        setArg(user, i, load);
      });
      continue;
    }
    const block = user.block!;
    const load = loadOf(home, block, user);
    block.insts.splice(block.insts.indexOf(user), 0, load);
    for (let i = 0; i < user.args.length; i++) if (user.args[i] === value) setArg(user, i, load);
  }
  storeBehind(home, value, value.block!);
  return home;
}

function newHome(func: Func, value: Inst): Inst {
  const home = new Inst('alloca', 'ptr', []);
  home.mem = value.type as MemType;
  home.size = Math.max(1, bitsOf(value.type) / 8);
  home.align = home.size;
  home.block = func.entry;
  func.entry.insts.unshift(home);
  return home;
}

function loadOf(home: Inst, block: Block, like: Inst): Inst {
  const load = new Inst('load', home.mem, [home]);
  load.mem = home.mem;
  load.block = block;
  load.loc = like.loc;
  return load;
}

function storeBehind(home: Inst, value: Inst, block: Block): void {
  const store = new Inst('store', 'void', [home, value]);
  store.mem = home.mem;
  store.block = block;
  store.loc = value.loc;
  let at = block.insts.indexOf(value) + 1;
  while (block.insts[at]?.op === 'phi') at++;
  block.insts.splice(at, 0, store);
}
