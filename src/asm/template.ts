/**
 * The text templates of the instruction table, compiled once: to parts for printing, to tokens for parsing.
 * A template is literal text with placeholders in braces (see `table.ts`).
 */

/** A piece of a template: literal text, or the key of a placeholder. */
export type TemplatePart = { readonly text: string } | { readonly key: string };

const cache = new Map<string, readonly TemplatePart[]>();

/** Splits a template at its placeholders. Templates come from the table only, so the cache is bounded. */
export function templateParts(template: string): readonly TemplatePart[] {
  let parts = cache.get(template);
  if (parts === undefined) {
    parts = template
      .split(/(\{[^}]+\})/)
      .filter((piece) => piece !== '')
      .map((piece) => (piece.startsWith('{') ? { key: piece.slice(1, -1) } : { text: piece }));
    cache.set(template, parts);
  }
  return parts;
}
