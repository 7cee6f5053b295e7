/** Packet capture files: pcap and pcapng, read lazily and written. */
export { asEthernet } from './ethernet.ts';
export { type PcapHeader, type PcapWriteOptions, pcapHeader, tooLongRecord, writePcap } from './pcap.ts';
export { type PcapngWriteOptions, writePcapng } from './pcapng.ts';
export { CaptureDecoder, readPackets, streamPackets } from './read.ts';
export { type CapturedPacket, type CaptureInterface, LINKTYPE, MAX_CAPTURE_RECORD } from './types.ts';
