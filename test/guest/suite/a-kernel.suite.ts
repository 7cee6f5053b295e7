/** What the guest is there for. Each file `*.suite.ts` runs in a process of its own, in the order of their names. */
import './boot.test.ts';
import './kprobe.test.ts';
import './trampoline.test.ts';
import './events.test.ts';
import './objects.test.ts';
import './versions.test.ts';
