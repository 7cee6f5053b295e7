/** Names of objects (kernel: bpf_obj_name_cpy): at most 15 characters of letters, digits, '_' and '.'. */
import { BpfError } from '../util/errors.ts';

/** BPF_OBJ_NAME_LEN */
const NAME_LEN = 16;

export function checkObjectName(name: string): string {
  if (name.length >= NAME_LEN) {
    throw new BpfError(
      'EINVAL',
      `the name '${name}' has ${name.length} characters; at most ${NAME_LEN - 1} are allowed`,
    );
  }
  if (/[^A-Za-z0-9_.]/.test(name)) {
    throw new BpfError('EINVAL', `the name '${name}' has a character that is no letter, digit, '_' or '.'`);
  }
  return name;
}
