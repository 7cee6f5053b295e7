/** What the guest is there for: one process runs it all. The suites of the host kernel (test/host) follow, each in its own. */
import './boot.test.ts';
import './kprobe.test.ts';
import './tracefs-probes.test.ts';
import './trampoline.test.ts';
import './events.test.ts';
import './netkit.test.ts';
import './objects.test.ts';
import './cli.test.ts';
import './functions.test.ts';
import './token.test.ts';
import './tools.test.ts';
import './versions.test.ts';
