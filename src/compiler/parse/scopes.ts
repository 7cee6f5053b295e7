/**
 * Which names are typedefs: the one thing the grammar of C needs to know about meaning. An ordinary name is recorded
 * only where it hides a typedef.
 */
import type { Token } from '../preprocess/index.ts';
import type { Location } from '../source/index.ts';

const PREDEFINED = ['__int128_t', '__uint128_t', '__builtin_va_list'];

export class TypedefScopes {
  /** File scope first. A name maps to the typedef's location, or to -1 where something else hides it. */
  private readonly scopes: (Map<string, Location> | null)[] = [new Map(PREDEFINED.map((name) => [name, 0]))];
  /** Of tokens that come without a table of words: those have a place for it. */
  private readonly tags = new Map<string, 'struct' | 'union' | 'enum'>();

  push(): void {
    this.scopes.push(null);
  }

  pop(): void {
    this.scopes.pop();
  }

  get depth(): number {
    return this.scopes.length;
  }

  /** After an error: back to `depth` scopes. */
  restore(depth: number): void {
    this.scopes.length = depth;
  }

  isTypedef(name: string): boolean {
    for (let i = this.scopes.length - 1; i >= 0; i--) {
      const found = this.scopes[i]?.get(name);
      if (found !== undefined) return found >= 0;
    }
    return false;
  }

  declareTypedef(name: string, location: Location): void {
    this.top().set(name, location);
  }

  /** A variable, function, parameter or enumerator. */
  declareOrdinary(name: string): void {
    if (this.scopes.length > 1 && this.isTypedef(name)) this.top().set(name, -1);
  }

  private top(): Map<string, Location> {
    const at = this.scopes.length - 1;
    let scope = this.scopes[at];
    if (scope === null || scope === undefined) {
      scope = new Map();
      this.scopes[at] = scope;
    }
    return scope;
  }

  locationOf(name: string): Location {
    for (let i = this.scopes.length - 1; i >= 0; i--) {
      const found = this.scopes[i]?.get(name);
      if (found !== undefined) return found;
    }
    return 0;
  }

  *typedefNames(): Iterable<string> {
    for (const scope of this.scopes)
      if (scope !== null) for (const [name, location] of scope) if (location >= 0) yield name;
  }

  declareTag(token: Token, kind: 'struct' | 'union' | 'enum'): void {
    if (token.name) token.name.tag = kind;
    else this.tags.set(token.text, kind);
  }

  tagKind(token: Token): 'struct' | 'union' | 'enum' | undefined {
    return token.name ? (token.name.tag ?? undefined) : this.tags.get(token.text);
  }
}
