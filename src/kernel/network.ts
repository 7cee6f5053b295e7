/** The network interfaces of the embedded kernel: a name and an index each. Programs hang on `xdp:IFINDEX`. */
import { BpfError } from '../util/errors.ts';

export interface NetworkDevice {
  readonly ifindex: number;
  readonly name: string;
  /** The attach point of its XDP program. */
  readonly xdpPoint: string;
}

const IFNAMSIZ = 16;

export class NetworkDevices {
  readonly #byName = new Map<string, NetworkDevice>();
  readonly #byIndex = new Map<number, NetworkDevice>();
  #next = 1;

  constructor() {
    this.add('lo');
  }

  /** A new interface, or the one with that name. */
  add(name: string): NetworkDevice {
    if (name === '' || name.length >= IFNAMSIZ || /[/\s:]/.test(name)) {
      throw new BpfError(
        'EINVAL',
        `'${name}' is no name of an interface: 1 to ${IFNAMSIZ - 1} characters without '/', ':' and blanks`,
      );
    }
    let device = this.#byName.get(name);
    if (device === undefined) {
      const ifindex = this.#next++;
      device = { ifindex, name, xdpPoint: `xdp:${ifindex}` };
      this.#byName.set(name, device);
      this.#byIndex.set(device.ifindex, device);
    }
    return device;
  }

  byName(name: string): NetworkDevice | undefined {
    return this.#byName.get(name);
  }

  byIndex(ifindex: number): NetworkDevice | undefined {
    return this.#byIndex.get(ifindex);
  }
}
