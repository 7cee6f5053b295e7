/**
 * Format strings that are known at load: every conversion exists and has a value (kernel 6.18: bpf_bprintf_prepare). The
 * helpers that print take conversions of integers, characters, strings, pointers and IP addresses.
 */

/** What ends a conversion of a string or a plain pointer: the end, white space or punctuation. */
const END = '(?=$|[\\s!-/:-@\\[-`{-~])';
const CONVERSION = new RegExp(
  `%(?:%|[0+\\- ]*(?:[1-9][0-9]*)?(?:p(?:${END}|[ku]s${END}|[KxsSB]|[iI][46])|s${END}|c|l{0,2}[iduxX]))`,
  'y',
);
/** Printable ASCII and white space. */
const TEXT = /^[\t-\r -~]*$/;

/** Whether `values` are enough for the format, and it has no conversion that does not exist. */
export function isValidFormat(format: string, values: number): boolean {
  if (!TEXT.test(format)) return false;
  let used = 0;
  for (let at = format.indexOf('%'); at >= 0; at = format.indexOf('%', at)) {
    CONVERSION.lastIndex = at;
    const found = CONVERSION.exec(format);
    if (found === null) return false;
    if (found[0] !== '%%' && ++used > values) return false;
    at += found[0].length;
  }
  return true;
}
