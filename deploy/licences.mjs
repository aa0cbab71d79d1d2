// Reads `cargo metadata` and fails when a dependency's licence is not among those that this project
// may be distributed with. An expression passes when one alternative of each AND part is allowed.
import { readFileSync } from "node:fs";

const ALLOWED = new Set([
  "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0",
  "CC0-1.0", "CDLA-Permissive-2.0", "ISC", "MIT", "MIT-0", "MPL-2.0", "Unicode-3.0", "Unlicense", "Zlib",
]);

// SPDX: OR binds weaker than AND, parentheses group; "/" is an old way to write OR.
function allows(expression) {
  const tokens = expression.replaceAll("/", " OR ").match(/\(|\)|[^\s()]+(?: WITH \S+)?/g) ?? [];
  let at = 0;
  const either = () => {
    let ok = all();
    while (tokens[at] === "OR") { at += 1; ok = all() || ok; }
    return ok;
  };
  const all = () => {
    let ok = one();
    while (tokens[at] === "AND") { at += 1; ok = one() && ok; }
    return ok;
  };
  const one = () => {
    if (tokens[at] !== "(") return ALLOWED.has(tokens[at++]);
    at += 1;
    const ok = either();
    at += 1;
    return ok;
  };
  return either();
}

const { packages } = JSON.parse(readFileSync(0, "utf8"));
const refused = packages.filter((crate) => !allows(crate.license ?? "(none)"));
for (const crate of refused) console.error(`${crate.name} ${crate.version}: ${crate.license ?? "no licence"}`);
console.log(`${packages.length} packages, ${refused.length} with a licence that is not allowed`);
process.exit(refused.length === 0 ? 0 : 1);
