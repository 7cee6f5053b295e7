/** What the caller of `BpfObject.load` may say. */
import type { Btf } from '../../btf/index.ts';

export interface LoadOptions {
  /** Level of the verifier's log: bits 1 (path), 2 (every instruction), 4 (statistics). */
  readonly logLevel?: number;
  /** Program type for programs whose section does not say one. */
  readonly defaultProgType?: string;
  /** BTF of the kernel for CO-RE; default: what the kernel gives, then its modules'. */
  readonly kernelBtf?: Btf;
  /**
   * Values of kernel options for `extern … __kconfig`, as the kernel's configuration file has them: `y`, `m`, `250`, `"text"`.
   * Default: the configuration that the kernel gives.
   */
  readonly kconfig?: ReadonlyMap<string, string>;
  /** Directory for maps with LIBBPF_PIN_BY_NAME (default /sys/fs/bpf). */
  readonly pinRoot?: string;
  /** `false`: a program that is refused is noted in `failures`, and the others are loaded. Default true: the first refusal throws. */
  readonly strict?: boolean;
}
