/** PROG_TEST_RUN: what it takes and gives. */

declare const fdBrand: unique symbol;
/** A file descriptor of a kernel. Made by the kernel only; closed with `close`. */
export type Fd = number & { readonly [fdBrand]?: true };

export interface ProgTestRunAttr {
  readonly progFd: Fd;
  readonly dataIn?: Uint8Array;
  /** Room for the packet as the program left it; default: as much as it takes. */
  readonly dataSizeOut?: number;
  readonly ctxIn?: Uint8Array;
  readonly ctxSizeOut?: number;
  /** Default 1. */
  readonly repeat?: number;
  readonly flags?: number;
  readonly cpu?: number;
  readonly batchSize?: number;
}

export interface ProgTestRunResult {
  readonly retval: number;
  /** Mean of one run, nanoseconds. */
  readonly duration: number;
  readonly dataOut: Uint8Array;
  readonly ctxOut: Uint8Array;
}
