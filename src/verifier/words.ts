/** Words of refusals that changed from release to release; where only one place says them, they are there. */
import type { Release } from '../spec/index.ts';

/** A line of the log in the words of the release. */
export function inWordsOf(release: Release, message: string): string {
  if (release.has('words_for_numbers') || !message.includes('scalar')) return message;
  return message.replace(/(=|'|, )scalar\b/g, '$1inv');
}
