// Addresses and prefixes, just enough to test "is this address in that prefix".

interface Cidr {
  bits: bigint;
  length: number;
  width: 32 | 128;
}

function parseV4(text: string): bigint | null {
  const parts = text.split(".");
  if (parts.length !== 4) return null;
  let value = 0n;
  for (const part of parts) {
    if (!/^\d{1,3}$/.test(part) || Number(part) > 255) return null;
    value = (value << 8n) | BigInt(part);
  }
  return value;
}

function parseV6(text: string): bigint | null {
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const groups = (half: string): string[] | null => {
    if (half === "") return [];
    const parts = half.split(":");
    const last = parts.at(-1)!;
    if (last.includes(".")) {
      const v4 = parseV4(last);
      if (v4 === null) return null;
      parts.splice(-1, 1, (v4 >> 16n).toString(16), (v4 & 0xffffn).toString(16));
    }
    return parts.every((part) => /^[0-9a-f]{1,4}$/i.test(part)) ? parts : null;
  };
  const head = groups(halves[0]!);
  const tail = halves.length === 2 ? groups(halves[1]!) : [];
  if (!head || !tail) return null;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return null;
  let value = 0n;
  for (const part of [...head, ...Array<string>(missing).fill("0"), ...tail]) value = (value << 16n) | BigInt(`0x${part}`);
  return value;
}

export function parseCidr(text: string): Cidr | null {
  const [address, suffix, more] = text.split("/");
  if (more !== undefined || !address) return null;
  const v4 = parseV4(address);
  const bits = v4 ?? (address.includes(":") ? parseV6(address) : null);
  if (bits === null) return null;
  const width = v4 !== null ? 32 : 128;
  if (suffix !== undefined && !/^\d{1,3}$/.test(suffix)) return null;
  const length = suffix === undefined ? width : Number(suffix);
  return length <= width ? { bits, length, width } : null;
}

export function inCidr(address: string, cidr: Cidr): boolean {
  const parsed = parseCidr(address);
  if (!parsed || parsed.width !== cidr.width) return false;
  const shift = BigInt(cidr.width - cidr.length);
  return parsed.bits >> shift === cidr.bits >> shift;
}
