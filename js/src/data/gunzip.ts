export async function gunzip(bytes: ArrayBuffer): Promise<ArrayBuffer> {
  const { readable, writable } = new DecompressionStream("gzip");
  const writer = writable.getWriter();
  // Broken input is reported by the reading end; here it would be an unhandled rejection.
  writer.write(new Uint8Array(bytes)).catch(() => {});
  writer.close().catch(() => {});
  return new Response(readable).arrayBuffer();
}
