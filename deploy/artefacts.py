"""What the manifests and the configuration have to agree on, with the program and with each other, and what no schema
knows: `artefacts.py kubernetes FOLDER` reads what kustomize rendered, `artefacts.py terraform`, `artefacts.py monitoring
FILE` also writes the dashboards' queries into that file, as rules for promtool, `artefacts.py documents`. Prints what is
wrong and exits with 1, or what it compared."""

import itertools
import json
import pathlib
import re
import sys
import tomllib

import hcl2
import yaml

DEPLOY = pathlib.Path(__file__).parent
REGIONS = {region["code"] for region in tomllib.loads((DEPLOY / "catalog.toml").read_text())["regions"]}
README = (DEPLOY.parent / "README.md").read_text()
SETTINGS = set(re.findall(r"^\| `([A-Z_]+)`", README, re.M))
DEFAULTS = dict(re.findall(r"^\| `([A-Z_]+)`[^|]*\| `([^`]+)` \|", README, re.M))
ROLES = "--roles=movr_app"
# With externalTrafficPolicy Local: three failed checks of a node, every ten seconds on the slowest cloud.
NOTICED_AFTER_S = 30

compared = itertools.count()
wrong = []


def check(holds, message):
    next(compared)
    if not holds:
        wrong.append(message)


def of_other_regions(region):
    return {"MOVR_DATABASE_URL_" + other.upper().replace("-", "_") for other in REGIONS - {region}}


def is_setting(name):
    return name in SETTINGS or name in of_other_regions("")


def kubernetes(folder):
    rendered = {path.stem: list(yaml.safe_load_all(path.read_text())) for path in pathlib.Path(folder).glob("*.yaml")}
    check(set(rendered) == REGIONS | {"migrate", "haproxy"}, f"overlays {sorted(rendered)} are not the catalogue's regions")
    for region in set(rendered) & REGIONS:
        overlay(region, {(what["kind"], what["metadata"]["name"]): what for what in rendered[region]})
    job = next(what for what in rendered["migrate"] if what["kind"] == "Job")
    container = job["spec"]["template"]["spec"]["containers"][0]
    check(secrets(container) == {("movr-migrator", "DATABASE_URL")}, "migrate: reads other secrets than the migrator's")
    check(container["args"][0] == "migrate" and ROLES in container["args"], f"migrate: args {container['args']}")
    check(all(is_setting(entry["name"]) for entry in container["env"]), "migrate: an unknown setting")
    haproxy({what["kind"]: what["spec"] for what in rendered["haproxy"] if "spec" in what})


def haproxy(specs):
    config = (DEPLOY / "haproxy/haproxy.cfg").read_text()
    variables = set(re.findall(r"\bMOVR_[A-Z_]+\b", config))
    pod = specs["Deployment"]["template"]
    container = pod["spec"]["containers"][0]
    unknown = {entry["name"] for entry in container["env"]} - variables
    check(not unknown, f"haproxy: haproxy.cfg reads no {unknown}")
    for port in container["ports"]:
        check(f":{port['containerPort']}" in config, f"haproxy: haproxy.cfg does not listen on {port}")
    longest = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    check(longest > NOTICED_AFTER_S, f"haproxy: stops after {longest} s, while requests are still sent to its node")
    longest += int(re.search(r"^\s*hard-stop-after (\d+)s$", config, re.M)[1])
    check(pod["spec"]["terminationGracePeriodSeconds"] > longest, f"haproxy: stopping may take {longest} s")
    for what, selector in {
        "Deployment": specs["Deployment"]["selector"]["matchLabels"],
        "Service": specs["Service"]["selector"],
        "PodDisruptionBudget": specs["PodDisruptionBudget"]["selector"]["matchLabels"],
        "NetworkPolicy": specs["NetworkPolicy"]["podSelector"]["matchLabels"],
        "PodMonitor": specs["PodMonitor"]["selector"]["matchLabels"],
    }.items():
        check(selector and selector.items() <= pod["metadata"]["labels"].items(), f"haproxy: {what} selects {selector}")


def secrets(container):
    found = [entry["valueFrom"]["secretKeyRef"] for entry in container.get("env", []) if "valueFrom" in entry]
    whole = [(source["secretRef"]["name"], "*") for source in container.get("envFrom", []) if "secretRef" in source]
    return {(secret["name"], secret["key"]) for secret in found} | set(whole)


def overlay(region, resources):
    def the(kind, name="movr"):
        return resources[(kind, name)]["spec"]

    pod = the("Deployment")["template"]
    labels, spec = pod["metadata"]["labels"], pod["spec"]
    container = spec["containers"][0]
    config = {}
    for source in container["envFrom"]:
        config |= resources[("ConfigMap", source["configMapRef"]["name"])]["data"]

    def seconds(setting, unit=1):
        return int(config.get(setting, DEFAULTS.get(setting))) / unit

    check(config["MOVR_REGION"] == region, f"{region}: MOVR_REGION is {config['MOVR_REGION']}")
    names = {entry["name"] for entry in container["env"]}
    unknown = sorted(name for name in names | set(config) if not is_setting(name))
    check(not unknown, f"{region}: not in the README's table of settings: {unknown}")
    wanted = {"DATABASE_URL", "MOVR_SECRET_KEYS"} | of_other_regions(region)
    read = {("movr-application", name) for name in wanted}
    check(secrets(container) == read and names == wanted, f"{region}: reads {sorted(secrets(container) ^ read)}")

    before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    check(before > NOTICED_AFTER_S, f"{region}: drains after {before} s, while requests are still sent to its node")
    drain = before + seconds("MOVR_DRAIN_DELAY_MS", 1000) + seconds("MOVR_SHUTDOWN_TIMEOUT_MS", 1000)
    grace = spec["terminationGracePeriodSeconds"]
    check(grace >= drain + 5, f"{region}: draining takes {drain} s, and it is ended after {grace}")
    probe = container["startupProbe"]
    budget = probe["periodSeconds"] * probe["failureThreshold"]
    check(budget > seconds("MOVR_WARM_UP_TIMEOUT_S"), f"{region}: warming up may take longer than {budget} s")
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    listens = {"http": config["MOVR_LISTEN"], "metrics": config["MOVR_METRICS_LISTEN"]}
    for name, address in listens.items():
        check(address == f"0.0.0.0:{ports[name]}", f"{region}: listens at {address}, {name} is {ports[name]}")
    for probe, path in {"startup": "/readyz", "readiness": "/readyz", "liveness": "/healthz"}.items():
        got = container[probe + "Probe"]["httpGet"]
        check(got == {"path": path, "port": "http"}, f"{region}: {probe} asks {got}")

    def selects(selector, what):
        check(selector.items() <= labels.items(), f"{region}: {what} selects {selector}, the Pods are {labels}")

    service = the("Service")
    selects(service["selector"], "Service")
    selects(the("Deployment")["selector"]["matchLabels"], "Deployment")
    selects(the("PodDisruptionBudget")["selector"]["matchLabels"], "PodDisruptionBudget")
    for policy in ("web", "database"):
        selects(the("NetworkPolicy", policy)["podSelector"]["matchLabels"], "NetworkPolicy " + policy)
    for spread in spec["topologySpreadConstraints"]:
        selects(spread["labelSelector"]["matchLabels"], "spread over " + spread["topologyKey"])
    check({port["targetPort"] for port in service["ports"]} == set(ports), f"{region}: ports of the Service")
    monitor = the("ServiceMonitor")
    service_labels = resources[("Service", "movr")]["metadata"]["labels"]
    check(
        monitor["selector"]["matchLabels"].items() <= service_labels.items()
        and {endpoint["port"] for endpoint in monitor["endpoints"]} <= {port["name"] for port in service["ports"]},
        f"{region}: ServiceMonitor does not find the Service",
    )
    labelled = [{"targetLabel": "region", "replacement": region}]
    check(
        all(endpoint["relabelings"] == labelled and endpoint["honorLabels"] for endpoint in monitor["endpoints"]),
        f"{region}: `up` has not the region",
    )
    trusted = set(config["MOVR_TRUSTED_PROXIES"].split(","))
    others = the("Service", "movr-regions")
    selects(others["selector"], "Service movr-regions")
    check(set(others["loadBalancerSourceRanges"]) == trusted, f"{region}: Service movr-regions is for others than {trusted}")
    sources = [source for rule in the("NetworkPolicy", "web")["ingress"] for source in rule["from"]]
    admitted = {source["ipBlock"]["cidr"] for source in sources if "ipBlock" in source}
    check(admitted == trusted, f"{region}: the NetworkPolicy admits {admitted}, {trusted} are believed")
    closed = the("NetworkPolicy", "default-deny")
    check(closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}, f"{region}: default-deny lets through")
    rules = the("NetworkPolicy", "web")["ingress"]
    check(
        all(rule.get("from") and rule.get("ports") for rule in rules)
        and {port["port"] for rule in rules for port in rule["ports"]} == set(ports),
        f"{region}: the NetworkPolicy does not name who may come to which port",
    )
    scaling = the("HorizontalPodAutoscaler")
    budget = the("PodDisruptionBudget")["maxUnavailable"]
    check(budget < scaling["minReplicas"], f"{region}: a disruption may end {budget} of {scaling['minReplicas']}")
    check(scaling["scaleTargetRef"]["name"] == "movr" and "replicas" not in the("Deployment"), f"{region}: who scales?")


def terraform():
    folder = DEPLOY / "terraform/gcp"
    text = "\n".join(re.sub(r"#.*", "", path.read_text()) for path in sorted(folder.glob("*.tf")))
    declared, blocks = set(), {}
    for path in sorted(folder.glob("*.tf")):
        parsed = hcl2.loads(path.read_text())
        for kind, prefix in {"resource": "", "data": "data."}.items():
            for block in parsed.get(kind, []):
                for of, named in block.items():
                    for name, body in named.items():
                        declared.add(f"{prefix}{of}.{name}")
                        blocks[f"{prefix}{of}.{name}"] = body
        declared |= {"local." + name for block in parsed.get("locals", []) for name in block if name[0] != "_"}
        blocks |= {"var." + name: body for block in parsed.get("variable", []) for name, body in block.items()}
        declared |= {name for name in blocks if name.startswith("var.")}
    used = set(re.findall(r"\b((?:data\.)?(?:google|cockroach|time)_\w+\.\w+|local\.\w+|var\.\w+)", text))
    for name in sorted(used):
        check(name in declared, f"{name} is used, and nowhere declared")
    for name in sorted(declared):
        check(not name.startswith(("var.", "local.")) or name in used, f"{name} is declared, and nowhere used")

    # This parser puts the value of an argument into a list, as it does with blocks.
    check(set(blocks["var.regions"]["default"][0]) == REGIONS, "the regions are not the catalogue's")
    unknown = sorted(set(re.findall(r"\b((?:MOVR|OTEL)_[A-Z_]+[A-Z])\b", text)) - SETTINGS - {"MOVR_DATABASE_URL"})
    check(not unknown, f"not in the README's table of settings: {unknown}")

    def at_most(setting):
        return int(re.search(rf'{setting}\s*=\s*"(\d+)"', text)[1]) / 1000

    drain = at_most("MOVR_DRAIN_DELAY_MS") + at_most("MOVR_SHUTDOWN_TIMEOUT_MS")
    check(drain < 10, f"draining may take {drain} s, Cloud Run gives 10")
    container = blocks["google_cloud_run_v2_service.web"]["template"][0]["containers"][0]
    for probe, path in {"startup": "/readyz", "readiness": "/readyz", "liveness": "/healthz"}.items():
        got = container[probe + "_probe"][0]["http_get"][0]["path"][0]
        check(got == path, f"{probe} asks {got}")
    probe = container["startup_probe"][0]
    budget = probe["period_seconds"][0] * probe["failure_threshold"][0]
    check(budget > int(DEFAULTS["MOVR_WARM_UP_TIMEOUT_S"]), f"warming up may take longer than {budget} s")

    job = blocks["google_cloud_run_v2_job.migrate"]["template"][0]["template"][0]["containers"][0]
    args = job["args"][0]
    role = blocks["var.application_role"]["default"][0]
    args = [arg.replace("${var.application_role}", role) for arg in args]
    check(args[0] == "migrate" and ROLES in args, f"migrate: args {args}")
    doctor = blocks["google_cloud_run_v2_job.doctor"]["template"][0]["template"][0]
    check(doctor["containers"][0]["dynamic"] == container["dynamic"], "the doctor has other settings than an instance")
    mixed = {"service.web": "secret.migrate", "job.doctor": "secret.migrate", "job.migrate": "secret.web"}
    for name, secret in mixed.items():
        check(secret not in repr(blocks["google_cloud_run_v2_" + name]), f"{name} reads google_secret_manager_{secret}")
    ignored = blocks["cockroach_sql_user.migrator"]["lifecycle"][0]["ignore_changes"]
    check("password" in repr(ignored), "an apply with another password locks the migration out")
    for name, body in blocks.items():
        if name.startswith("google_secret_manager_secret_version.") and "password" in repr(body):
            check("secret_data" not in body, f"{name} writes a password into the state")
        if name.startswith("google_dns_record_set."):
            check(body["ttl"][0] <= 60, f"{name} is remembered for {body['ttl'][0]} s")


# The program's metrics and their labels, of the list that a test writes; a histogram is known by its three series.
METRICS = {
    name + series: set(re.findall(r"`(\w+)`", labels)) | ({"le"} if series == "_bucket" else set())
    for name, kind, labels in re.findall(
        r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", (DEPLOY / "metrics.md").read_text(), re.M
    )
    for series in (["_bucket", "_count", "_sum"] if kind == "histogram" else [""])
}
# What Prometheus itself has, and the two figures of a process that are shown.
SCRAPED = {"up": set(), "ALERTS": {"alertname", "alertstate", "severity"}} | dict.fromkeys(
    ("process_resident_memory_bytes", "process_cpu_seconds_total"), set()
)
EVERYWHERE = {"region", "job", "instance"}


def monitoring(queries):
    folder = DEPLOY / "prometheus"
    text = (folder / "prometheus.yml").read_text()
    check(not re.search(r": [&*]\w", text), "prometheus.yml: a job with an alias cannot be copied alone")
    config = yaml.safe_load(text)
    files = [
        yaml.safe_load(path.read_text()) for pattern in config["rule_files"] for path in sorted(folder.glob(pattern))
    ]
    rules = [rule for file in files for group in file["groups"] for rule in group["rules"]]
    alerts = [rule for rule in rules if "alert" in rule]
    recorded = {rule["record"]: None for rule in rules if "record" in rule}
    asked = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules]

    boards = {
        path.name: json.loads(path.read_text()) for path in sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
    }
    shown = []
    for name, board in boards.items():
        panels = board["panels"]
        check(len({panel["id"] for panel in panels}) == len(panels), f"{name}: two panels have one id")
        shown += [(f"{name}, {panel['title']}", q["expr"]) for panel in panels for q in panel.get("targets", [])]
        shown += [(f"{name}, {note['name']}", note["target"]["expr"]) for note in board["annotations"]["list"]]
        asked += [(name, variable["definition"]) for variable in board["templating"]["list"]]
    for variable, value in {"$__rate_interval": "5m", "$__range": "1h", "$region": ".*"}.items():
        shown = [(where, query.replace(variable, value)) for where, query in shown]
    group = {
        "name": "dashboards",
        "rules": [
            {"record": "dashboards:query", "labels": {"of": str(number)}, "expr": query}
            for number, (_, query) in enumerate(shown)
        ],
    }
    pathlib.Path(queries).write_text(json.dumps({"groups": [group]}))

    kept = {
        job["job_name"]: re.split(r"\|", rule["regex"])
        for job in config["scrape_configs"]
        for rule in job.get("metric_relabel_configs", [])
    }
    nodes = {tuple(names) for name, names in kept.items() if name.startswith("cockroachdb-")}
    check(len(nodes) == 1, f"of the database not every region keeps the same: {nodes}")
    known = METRICS | SCRAPED | recorded | {name: None for names in kept.values() for name in names}
    labels = EVERYWHERE.union(*METRICS.values(), {"slo", "proxy", "server", "alertname", "severity"})
    program = [path for path in (DEPLOY.parent / "src").rglob("*.rs") if "pages" not in path.parts]
    source = "".join(path.read_text() for path in program)
    used = set()
    for where, query in asked + shown:
        for name, matchers in selectors(query):
            used.add(name)
            check(name in known, f"{where}: there is no metric {name}")
            unknown = set(matchers) - known[name] - EVERYWHERE if known.get(name) is not None else None
            check(not unknown, f"{where}: {name} has no label {unknown}")
            for label in set(matchers) & {"reach", "outcome", "state"} if name in METRICS else ():
                said = [value for value in matchers[label].split("|") if f'"{value}"' not in source]
                check(not said, f"{where}: the program says nowhere {label}={said}")
        said = {label.strip() for group in re.findall(r"\bby *\(([^()]*)\)", query) for label in group.split(",")}
        check(said <= labels, f"{where}: nothing has the label {sorted(said - labels)}")
    worded = [(alert["alert"], alert["annotations"]) for alert in alerts]
    worded += [(name, panel.get("targets")) for name, board in boards.items() for panel in board["panels"]]
    for where, words in worded:
        said = set(re.findall(r"\{\{ ?(?:\$labels\.)?(\w+) ?\}\}", str(words)))
        check(said <= labels, f"{where}: nothing has the label {sorted(said - labels)}")
    for job, names in kept.items():
        check(set(names) <= used, f"{job}: {sorted(set(names) - used)} are kept, and nowhere used")

    anchors = anchors_of(DEPLOY / "runbook.md")
    for alert in alerts:
        needs = recorded.keys() & {name for name, _ in selectors(alert["expr"])}
        check(not needs, f"{alert['alert']}: not where nothing records {sorted(needs)}")
        address = alert["annotations"].get("runbook_url", "")
        check(
            address.partition("#")[0] == "deploy/runbook.md" and address.partition("#")[2] in anchors,
            f"{alert['alert']}: {address} is not in the runbook",
        )
        check(alert["labels"]["severity"] in {"page", "ticket"}, f"{alert['alert']}: no severity")
        check({"summary", "description"} <= set(alert["annotations"]), f"{alert['alert']}: not said what it is")
    led = {
        alert["annotations"]["runbook_url"].partition("#")[2]
        for alert in alerts
        if "runbook_url" in alert["annotations"]
    }
    lost = sorted(anchor for anchor in anchors if anchor.startswith("movr") and anchor not in led)
    check(not lost, f"runbook.md: no alert leads to {lost}")
    tests = (folder / "tests.yml").read_text()
    for alert in alerts:
        fires = f'alertname="{alert["alert"]}",severity="{alert["labels"]["severity"]}"'
        check(fires in tests, f"tests.yml: {fires} never fires")

    catalogue = tomllib.loads((DEPLOY / "catalog.toml").read_text())["regions"]
    for name, axis in {"region:latitude": "lat", "region:longitude": "lon"}.items():
        places = {rule["labels"]["region"]: rule["expr"] for rule in rules if rule.get("record") == name}
        wanted = {region["code"]: f"vector({region['centre'][axis]})" for region in catalogue}
        check(places == wanted, f"{name}: {places}, the catalogue has {wanted}")
    named = {}
    for job in config["scrape_configs"]:
        labels = [target.get("labels", {}).get("region") for target in job.get("static_configs", [])]
        labels += [rule["replacement"] for rule in job.get("relabel_configs", [])]
        named.setdefault(job["job_name"].partition("-")[0], set()).update(set(labels) - {None})
    for job, regions in named.items():
        check(regions in (set(), REGIONS), f"{job}: {regions} are not the catalogue's regions")


def selectors(query):
    """The metrics of a PromQL query, each with the labels by which it is selected and their values."""
    # Whatever stands in quotes or names labels is no metric.
    quoted = re.findall(r'"([^"]*)"', query)
    query = re.sub(r'"[^"]*"', '""', query)
    query = re.sub(r"label_values *\(([^,]*),[^)]*\)", r"\1", query)
    query = re.sub(r"\b(by|on|ignoring|group_left) *\([^()]*\)|\[[^]]*]|\boffset \w+", "", query)
    values = iter(quoted)
    for name, matchers in re.findall(r"(?<![\w.])([a-zA-Z_:][\w:]*)\b(?! *\() *(\{[^}]*\})?", query):
        matchers = {label: next(values) for label in re.findall(r"(\w+) *[=!]", matchers)}
        if name not in {"and", "or", "unless"}:
            yield name, matchers


def anchors_of(path):
    titles = re.findall(r"^#+ (.+)$", path.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def documents():
    for path in [DEPLOY.parent / "README.md", *sorted(DEPLOY.rglob("*.md"))]:
        for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
            file, _, anchor = link.partition("#")
            if "://" not in link:
                there = (path.parent / file).resolve() if file else path
                found = there.exists() and (not anchor or anchor in anchors_of(there))
                check(found, f"{path.relative_to(DEPLOY.parent)}: there is no {link}")


{"kubernetes": kubernetes, "terraform": terraform, "monitoring": monitoring, "documents": documents}[sys.argv[1]](*sys.argv[2:])
for message in wrong:
    print(message)
print(f"{next(compared)} comparisons, {len(wrong)} wrong")
sys.exit(bool(wrong))
