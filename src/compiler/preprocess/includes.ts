/** Where `#include` looks: next to the includer, the directories of the command line in order, the built-in headers last. */
import { makeSourceText, type SourceText } from '../source/index.ts';

/** How the compiler gets at files; paths use `/`. A directory or a missing file is `undefined`. */
export interface IncludeResolver {
  read(path: string): string | undefined;
}

export interface IncludePaths {
  /** `-iquote`: for names in quotes only. */
  readonly quote?: readonly string[];
  /** `-I` */
  readonly user?: readonly string[];
  /** `-isystem`: no warnings come from there. */
  readonly system?: readonly string[];
  /** `-idirafter` */
  readonly after?: readonly string[];
}

/** Directory of the built-in headers in paths of diagnostics and debug information. */
export const BUILTIN_DIRECTORY = '<tsbpf>';

export interface FoundHeader {
  readonly source: SourceText;
  readonly system: boolean;
  /** Index of the directory in the search order; where `#include_next` goes on. -1: next to the includer. */
  readonly directory: number;
}

interface Directory {
  readonly path: string;
  readonly system: boolean;
}

export class HeaderSearch {
  private readonly resolver: IncludeResolver;
  private readonly builtin: (name: string) => string | undefined;
  private readonly directories: readonly Directory[];
  private readonly quoted: number;
  private readonly texts = new Map<string, SourceText | null>();
  private readonly angled = new Map<string, FoundHeader | null>();

  /** `builtin` gives the text of a built-in header by its name (`bpf/bpf_helpers.h`). */
  constructor(resolver: IncludeResolver, paths: IncludePaths, builtin: (name: string) => string | undefined) {
    this.resolver = resolver;
    this.builtin = builtin;
    const user = (path: string): Directory => ({ path, system: false });
    const system = (path: string): Directory => ({ path, system: true });
    this.directories = [
      ...(paths.quote ?? []).map(user),
      ...(paths.user ?? []).map(user),
      ...(paths.system ?? []).map(system),
      system(BUILTIN_DIRECTORY),
      ...(paths.after ?? []).map(system),
    ];
    this.quoted = paths.quote?.length ?? 0;
  }

  /** The text at a path; one object a path. */
  read(path: string): SourceText | null {
    const known = this.texts.get(path);
    if (known !== undefined) return known;
    const text = path.startsWith(`${BUILTIN_DIRECTORY}/`)
      ? this.builtin(path.slice(BUILTIN_DIRECTORY.length + 1))
      : this.resolver.read(path);
    const source = text === undefined ? null : makeSourceText(path, text);
    this.texts.set(path, source);
    return source;
  }

  /**
   * `angled`: the name stood between `<>`. `includer`: path of the file with the directive, and whether it is a system header.
   * `after`: for `#include_next`, the index of the directory where the includer was found.
   */
  find(
    name: string,
    angled: boolean,
    includer: { readonly path: string; readonly system: boolean },
    after?: number,
  ): FoundHeader | null {
    if (name === '' || name.includes('\0')) return null;
    if (name.startsWith('/')) {
      const source = this.read(name);
      return source === null ? null : { source, system: includer.system, directory: -1 };
    }
    if (after === undefined && !angled) {
      const source = this.read(join(directoryOf(includer.path), name));
      if (source !== null) return { source, system: includer.system, directory: -1 };
      return this.search(name, 0);
    }
    if (after !== undefined) return this.search(name, Math.max(after + 1, angled ? this.quoted : 0));
    const known = this.angled.get(name);
    if (known !== undefined) return known;
    const found = this.search(name, this.quoted);
    this.angled.set(name, found);
    return found;
  }

  private search(name: string, from: number): FoundHeader | null {
    for (let i = from; i < this.directories.length; i++) {
      const directory = this.directories[i]!;
      const source = this.read(join(directory.path, name));
      if (source !== null) return { source, system: directory.system, directory: i };
    }
    return null;
  }
}

function directoryOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? '' : slash === 0 ? '/' : path.slice(0, slash);
}

function join(directory: string, name: string): string {
  if (directory === '') return name;
  return directory.endsWith('/') ? directory + name : `${directory}/${name}`;
}
