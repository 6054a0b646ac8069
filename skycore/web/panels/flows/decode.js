/**
 * A line about a packet, from its bytes: Ethernet II and 802.1Q, ARP (RFC 826), IPv4 (RFC 791), IPv6 (RFC 8200), ICMP (RFC 792),
 * ICMPv6 (RFC 4443), TCP (RFC 9293), UDP (RFC 768).  What is cut off or unknown ends the line.
 */

/** @typedef {{layers: string[], from: string, to: string, about: string}} Decoded */

/** https://www.tcpdump.org/linktypes.html */
const LINK_ETHERNET = 1;
const LINK_RAW = new Set([12, 101, 228, 229]);
const ETHERTYPES = /** @type {Record<number, string>} */ ({ 0x0800: 'IPv4', 0x86dd: 'IPv6', 0x0806: 'ARP', 0x8100: 'Dot1Q', 0x88a8: 'QinQ', 0x8847: 'MPLS', 0x88cc: 'LLDP' });
const TCP_FLAGS = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR'];
const ICMP = /** @type {Record<number, string>} */ ({ 0: 'echo reply', 3: 'destination unreachable', 5: 'redirect', 8: 'echo request', 11: 'time exceeded' });
const ICMP6 = /** @type {Record<number, string>} */ ({ 1: 'destination unreachable', 2: 'packet too big', 3: 'time exceeded', 128: 'echo request', 129: 'echo reply', 133: 'router solicitation', 134: 'router advertisement', 135: 'neighbour solicitation', 136: 'neighbour advertisement', 143: 'listener report' });
const EXTENSIONS = new Set([0, 43, 60]);

/** @param {string} base64 @returns {Uint8Array} */
export const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

/** @param {Uint8Array} bytes */
const mac = (bytes) => [...bytes].map((one) => one.toString(16).padStart(2, '0')).join(':');

/** RFC 5952: the longest run of zeros is left out. @param {DataView} view @param {number} at */
function ipv6(view, at) {
  const words = Array.from({ length: 8 }, (_, index) => view.getUint16(at + 2 * index).toString(16));
  const runs = [...words.map((word) => (word === '0' ? '0' : '1')).join('').matchAll(/00+/g)].sort((one, other) => other[0].length - one[0].length);
  if (!runs.length) return words.join(':');
  const [run] = runs;
  return `${words.slice(0, run.index).join(':')}::${words.slice(run.index + run[0].length).join(':')}`;
}

/** @param {number} port @param {string} address */
const withPort = (port, address) => `${address.includes(':') ? `[${address}]` : address}:${port}`;

/**
 * @param {Uint8Array} bytes
 * @param {number} linkType
 * @returns {Decoded}
 */
export function decode(bytes, linkType) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  /** @type {Decoded} */
  const decoded = { layers: [], from: '', to: '', about: '' };
  try {
    if (linkType === LINK_ETHERNET) ethernet(view, bytes, decoded);
    else if (LINK_RAW.has(linkType)) network(view, 0, view.getUint8(0) >> 4 === 6 ? 0x86dd : 0x0800, decoded);
    else decoded.about = `link type ${linkType}`;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    decoded.about = [decoded.about, '(cut off)'].filter(Boolean).join(' ');
  }
  return decoded;
}

/** @param {DataView} view @param {Uint8Array} bytes @param {Decoded} decoded */
function ethernet(view, bytes, decoded) {
  decoded.layers.push('Ethernet');
  let type = view.getUint16(12);
  decoded.to = mac(bytes.subarray(0, 6));
  decoded.from = mac(bytes.subarray(6, 12));
  let at = 14;
  const tags = [];
  while (type === 0x8100 || type === 0x88a8) {
    tags.push(view.getUint16(at) & 0xfff);
    decoded.layers.push('Dot1Q');
    type = view.getUint16(at + 2);
    at += 4;
  }
  if (tags.length) decoded.about = `vlan ${tags.join('.')}`;
  network(view, at, type, decoded);
}

/** @param {DataView} view @param {number} at @param {number} type @param {Decoded} decoded */
function network(view, at, type, decoded) {
  decoded.layers.push(ETHERTYPES[type] ?? `0x${type.toString(16).padStart(4, '0')}`);
  if (type === 0x0806) {
    const asks = view.getUint16(at + 6) === 1;
    const [sender, target] = [at + 14, at + 24].map((place) => Array.from({ length: 4 }, (_, index) => view.getUint8(place + index)).join('.'));
    decoded.about = asks ? `who has ${target}? tell ${sender}` : `${sender} is here`;
  } else if (type === 0x0800) {
    const header = (view.getUint8(at) & 15) * 4;
    [decoded.from, decoded.to] = [at + 12, at + 16].map((place) => Array.from({ length: 4 }, (_, index) => view.getUint8(place + index)).join('.'));
    const fragment = view.getUint16(at + 6) & 0x1fff;
    const length = view.getUint16(at + 2) - header;
    if (fragment) decoded.about = `fragment at ${fragment * 8}`;
    else transport(view, at + header, view.getUint8(at + 9), length, decoded);
  } else if (type === 0x86dd) {
    decoded.from = ipv6(view, at + 8);
    decoded.to = ipv6(view, at + 24);
    let next = view.getUint8(at + 6);
    let place = at + 40;
    let length = view.getUint16(at + 4);
    while (EXTENSIONS.has(next)) {
      const size = (view.getUint8(place + 1) + 1) * 8;
      next = view.getUint8(place);
      place += size;
      length -= size;
    }
    transport(view, place, next, length, decoded);
  }
}

/** @param {DataView} view @param {number} at @param {number} protocol @param {number} length @param {Decoded} decoded */
function transport(view, at, protocol, length, decoded) {
  if (protocol === 6 || protocol === 17) {
    decoded.layers.push(protocol === 6 ? 'TCP' : 'UDP');
    decoded.from = withPort(view.getUint16(at), decoded.from);
    decoded.to = withPort(view.getUint16(at + 2), decoded.to);
    if (protocol === 17) {
      decoded.about = `${view.getUint16(at + 4) - 8} bytes`;
      return;
    }
    const flags = TCP_FLAGS.filter((_, bit) => view.getUint8(at + 13) & (1 << bit));
    const data = length - (view.getUint8(at + 12) >> 4) * 4;
    decoded.about = `${flags.join(' ')} seq ${view.getUint32(at + 4)} ack ${view.getUint32(at + 8)} win ${view.getUint16(at + 14)}, ${data} bytes`;
  } else if (protocol === 1 || protocol === 58) {
    decoded.layers.push(protocol === 1 ? 'ICMP' : 'ICMPv6');
    const type = view.getUint8(at);
    const name = (protocol === 1 ? ICMP : ICMP6)[type] ?? `type ${type} code ${view.getUint8(at + 1)}`;
    const echo = name.startsWith('echo') ? ` id ${view.getUint16(at + 4)} seq ${view.getUint16(at + 6)}` : '';
    decoded.about = `${name}${echo}, ${length - 8} bytes`;
  } else {
    decoded.layers.push(`protocol ${protocol}`);
    decoded.about = `${length} bytes`;
  }
}

/**
 * Lines of sixteen bytes: place, hexadecimal, and what of it is ASCII.
 * @param {Uint8Array} bytes
 */
export function hexdump(bytes) {
  const lines = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const part = [...bytes.subarray(at, at + 16)];
    const hex = part.map((one) => one.toString(16).padStart(2, '0'));
    const text = part.map((one) => (one >= 32 && one < 127 ? String.fromCharCode(one) : '.')).join('');
    lines.push(`${at.toString(16).padStart(4, '0')}  ${hex.slice(0, 8).join(' ').padEnd(23)}  ${hex.slice(8).join(' ').padEnd(23)}  ${text}`);
  }
  return lines.join('\n');
}
