/** What packet capture files hold, whichever their format. */

/** An interface as a capture describes it. A pcap file has one. */
export interface CaptureInterface {
  /** Position in its file (pcapng: in its section). */
  readonly index: number;
  /** `LINKTYPE_*` number, https://www.tcpdump.org/linktypes.html */
  readonly linkType: number;
  /** Most bytes that are kept of a packet; 0: no limit. */
  readonly snapLength: number;
  readonly name: string | undefined;
  /** Ticks of a time stamp in one second. */
  readonly ticksPerSecond: bigint;
  /** Seconds to add to every time stamp. */
  readonly secondsOffset: bigint;
}

export interface CapturedPacket {
  /** The bytes that were kept. */
  readonly data: Uint8Array;
  /** Length on the wire. */
  readonly originalLength: number;
  /** Nanoseconds since 1970; 0 where the file has none (simple packet blocks). */
  readonly timestampNs: bigint;
  readonly interface: CaptureInterface;
}

export const LINKTYPE = {
  NULL: 0,
  ETHERNET: 1,
  RAW: 101,
  LOOP: 108,
  LINUX_SLL: 113,
  IPV4: 228,
  IPV6: 229,
  LINUX_SLL2: 276,
} as const;

/** Largest packet or block that is held in memory, bytes. */
export const MAX_CAPTURE_RECORD = 16 * 1024 * 1024;
