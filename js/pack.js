// Packs the built module: a notebook saves it once for each widget, so its size counts there.
//
// What is written is a module that unpacks the other one and passes on what that exports. It is
// loaded from the kind of address that this one came from: a page's policy may refuse the other.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { gzipSync } from "node:zlib";

const [from, to] = process.argv.slice(2);
const packed = gzipSync(readFileSync(from), { level: 9 }).toString("base64");

// Fresh clones have no such folder, as what is built is not committed.
mkdirSync(dirname(to), { recursive: true });
writeFileSync(
  to,
  `const bytes=Uint8Array.from(atob("${packed}"),(sign)=>sign.charCodeAt(0));
const plain=new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
const code=new Blob([await new Response(plain).arrayBuffer()],{type:"text/javascript"});
const inline=()=>new Promise((done)=>{const reader=new FileReader();reader.onload=()=>done(import(reader.result));reader.readAsDataURL(code)});
const blob=()=>{const url=URL.createObjectURL(code);return import(url).finally(()=>URL.revokeObjectURL(url))};
const module=await(import.meta.url.startsWith("data:")?inline():blob().catch(inline));
export default module.default;
export const mount=module.mount;
`,
);
