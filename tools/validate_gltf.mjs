// Checks glTF files with the Khronos validator and prints one JSON object: file -> the validator's report.
// Usage: node tools/validate_gltf.mjs FOLDER-WITH-node_modules FILE...
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";

const [folder, ...files] = process.argv.slice(2);
const validator = createRequire(join(resolve(folder), "package.json"))("gltf-validator");
const reports = {};
for (const file of files) {
  const { issues, info } = await validator.validateBytes(new Uint8Array(readFileSync(file)), { uri: file });
  reports[file] = { issues, info };
}
console.log(JSON.stringify(reports));
