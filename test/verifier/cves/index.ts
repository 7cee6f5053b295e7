/**
 * All of them, in the order of their numbers. Not here: bugs of Linux's code generators (CVE-2021-29154), which our compiler to
 * WebAssembly has no counterpart of, and of syscall programs (CVE-2022-2785), which the embedded kernel does not run.
 */
import { CVE_2017_16995 } from './cve-2017-16995.ts';
import { CVE_2018_18445 } from './cve-2018-18445.ts';
import { CVE_2020_8835 } from './cve-2020-8835.ts';
import { CVE_2020_27194 } from './cve-2020-27194.ts';
import { CVE_2021_3444 } from './cve-2021-3444.ts';
import { CVE_2021_3490 } from './cve-2021-3490.ts';
import { CVE_2021_4204 } from './cve-2021-4204.ts';
import { CVE_2021_31440 } from './cve-2021-31440.ts';
import { CVE_2021_33200 } from './cve-2021-33200.ts';
import { CVE_2021_34866 } from './cve-2021-34866.ts';
import { CVE_2021_45402 } from './cve-2021-45402.ts';
import { CVE_2022_0500 } from './cve-2022-0500.ts';
import { CVE_2022_23222 } from './cve-2022-23222.ts';
import { CVE_2023_2163 } from './cve-2023-2163.ts';
import { CVE_2023_39191 } from './cve-2023-39191.ts';
import { CVE_2023_52676 } from './cve-2023-52676.ts';
import { CVE_2024_26589 } from './cve-2024-26589.ts';
import { CVE_2024_47702 } from './cve-2024-47702.ts';
import { CVE_2024_49861 } from './cve-2024-49861.ts';
import type { Exploit } from './support.ts';

export const EXPLOITS: readonly Exploit[] = [
  CVE_2017_16995,
  CVE_2018_18445,
  CVE_2020_27194,
  CVE_2020_8835,
  CVE_2021_31440,
  CVE_2021_33200,
  CVE_2021_3444,
  CVE_2021_34866,
  CVE_2021_3490,
  CVE_2021_4204,
  CVE_2021_45402,
  CVE_2022_0500,
  CVE_2022_23222,
  CVE_2023_2163,
  CVE_2023_39191,
  CVE_2023_52676,
  CVE_2024_26589,
  CVE_2024_47702,
  CVE_2024_49861,
];
