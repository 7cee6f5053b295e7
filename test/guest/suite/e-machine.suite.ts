/** What the host kernel says about its machine, on Linux 6.1. */
import '../../host/host-machine.test.ts';
