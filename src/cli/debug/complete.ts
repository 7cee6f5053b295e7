/** What the last word of a line at the prompt may become: commands, then what the command names. */
import { recordedFunctions } from '../../debug/index.ts';
import type { Completion } from '../environment.ts';
import { TOPIC_NAMES } from './info.ts';
import { PROMPT_COMMANDS } from './session.ts';
import { baseName, type DebugSession } from './view.ts';

const MOST = 200;

export function complete(session: DebugSession, line: string): Completion {
  const last = /[^;]*$/.exec(line)![0].trimStart();
  const [, name, rest] = /^([A-Za-z-]+)\s+(.*)$/s.exec(last) ?? [];
  if (name === undefined || rest === undefined)
    return matching(
      PROMPT_COMMANDS.flatMap(({ names }) => names.slice(0, 1)),
      last,
    );
  const command = PROMPT_COMMANDS.find(({ names }) => names.includes(name));
  const { debug } = session;
  const word = /[\w$.:-]*$/.exec(rest)![0];
  const inExpression = () => expressionWords(session, rest);
  switch (command?.completes) {
    case 'topic':
      return matching(TOPIC_NAMES, rest);
    case 'command':
      return matching(
        PROMPT_COMMANDS.flatMap(({ names }) => names),
        rest,
      );
    case 'place': {
      if (/\sif\s/.test(rest)) return inExpression();
      const files = debug.recording.sources.flatMap(({ lines }) =>
        lines.map(({ file }) => `${baseName(file)}:`),
      );
      return matching([...recordedFunctions(debug.recording), ...new Set(files)], word);
    }
    case 'call': {
      const [what = '', named] = rest.split(/\s+/);
      if (named === undefined) return matching(['call', 'map'], what);
      if (what === 'map') return matching(mapNames(session), named);
      return matching(debug.calledNames(), named);
    }
    case 'expression':
      return inExpression();
    default:
      return { found: [], word: '' };
  }
}

const mapNames = ({ debug }: DebugSession): string[] =>
  debug.recording.maps().map(({ map }) => map.info.name);

/** Names, members behind `.` and `->`, registers. */
function expressionWords(session: DebugSession, text: string): Completion {
  const { inspect } = session.debug;
  const [, of, part = ''] = /([\w$.>[\]-]+?)(?:->|\.)(\w*)$/.exec(text) ?? [];
  if (of !== undefined) return matching(inspect.members(of), part);
  const word = /\$?\w*$/.exec(text)![0];
  if (word.startsWith('$'))
    return matching([...Array.from({ length: 11 }, (_, r) => `$r${r}`), '$fp', '$pc', '$step'], word);
  return matching(
    [...[...inspect.arguments(), ...inspect.globals()].map(({ name }) => name), ...mapNames(session)],
    word,
  );
}

function matching(names: readonly string[], word: string): Completion {
  const found = [...new Set(names)].filter((one) => one.startsWith(word)).sort();
  return { found: found.slice(0, MOST), word };
}
