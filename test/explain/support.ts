/** Mistakes as requests to the verifier. */
import { assemble } from '../../src/asm/index.ts';
import type { LineInfo, VerifyRequest } from '../../src/contracts/verify.ts';
import { progTypeByName } from '../../src/spec/index.ts';
import { ERRNO } from '../../src/util/index.ts';
import { ROOT } from '../verifier/support.ts';
import type { Mistake } from './mistakes.ts';

/** Program and line records of a text with `; 12: source` lines. */
function parse(text: string): Pick<VerifyRequest, 'insns' | 'lineInfo'> {
  const lineInfo: LineInfo[] = [];
  let code = '';
  for (const line of text.trim().split('\n')) {
    const mark = /^; (\d+): (.*)/.exec(line);
    if (mark === null) code += `${line}\n`;
    else
      lineInfo.push({
        insn: code === '' ? 0 : assemble(code).length,
        file: 'mistake.bpf.c',
        line: Number(mark[1]),
        column: 2,
        text: `\t${mark[2]}`,
      });
  }
  return { insns: assemble(code), lineInfo };
}

/** What the verifier is asked about a mistake, or about another text in its place (without line records). */
export function request(mistake: Mistake, text = mistake.text): VerifyRequest {
  const { type, maps = [], credentials = ROOT, gpl = true, flags = 0, attachType = 0 } = mistake;
  const { lineInfo, ...program } = parse(text);
  return {
    progType: progTypeByName(type)!,
    expectedAttachType: attachType,
    ...program,
    ...(text === mistake.text ? { lineInfo: lineInfo! } : {}),
    gplCompatible: gpl,
    mapByFd: (fd) => maps[fd - 1] ?? -ERRNO.EBADF,
    credentials,
    flags,
    logLevel: 0,
  };
}
