#!/usr/bin/env python3
"""The people of drill.sh, with nothing but Python's standard library.

    riders.py ride URL RESULT             rides until SIGTERM, then writes what happened to RESULT
    riders.py report RESULT EVENTS ROWS   prints what failed after each event, and compares answers with rows

Three people in each region sign up, look, reserve, ride and end the ride, as a browser does. A form that was not
answered is sent again until it is, like a person who presses the button again. EVENTS has a line for each event: the
time, the region that it is about or "-", and its name. ROWS has a line for each row of the database: "ride ID" or
"user NAME".
"""

import http.client
import json
import random
import re
import signal
import sys
import threading
import time
import urllib.parse
import uuid

# Home city as the proxy in front would name it, and a place in it where rides end.
CITIES = {
    "us-east1": ("new-york", "New York", 40.7580, -73.9855),
    "us-west1": ("seattle", "Seattle", 47.6062, -122.3321),
    "europe-west1": ("paris", "Paris", 48.8566, 2.3522),
}
RIDERS_PER_REGION = 3
RIDES_PER_PERSON = 8  # nobody may reserve more than ten times a day
PATIENCE_S = 30  # for one answer, and after the end for the forms that are still open
# After an event everybody is served again within so many seconds: those whose region it is, all others, and those who
# sign up, which asks every region whether the name is taken. (The leases of a CockroachDB node move nine seconds after
# it is lost.)
LIMITS_S = {"killed": (5, 5, 5), "back": (0, 0, 0), "cut": (30, 15, 30), "restored": (10, 5, 10)}

stop = threading.Event()


class Rider(threading.Thread):
    def __init__(self, address, region):
        super().__init__()
        self.address, self.region = address, region
        self.connection, self.headers, self.cookies, self.form = None, {}, {}, None
        self.requests, self.rides, self.users, self.refused = [], [], [], 0

    def ask(self, method, path, form=None):
        """One request; its answer as (status, headers, text), or None if it failed."""
        began, answer = time.time(), None
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection(self.address, timeout=PATIENCE_S)
            headers = dict(self.headers, Cookie="; ".join(f"{k}={v}" for k, v in self.cookies.items()))
            if form is not None:
                headers["Content-Type"] = "application/x-www-form-urlencoded"
                form = urllib.parse.urlencode(form)
            self.connection.request(method, path, form, headers)
            response = self.connection.getresponse()
            text = response.read().decode()
            answer = (response.status, response.headers, text)
            fault = None if response.status in (200, 303) else f"status {response.status}"
            for cookie in response.headers.get_all("Set-Cookie", []):
                name, value = cookie.split(";")[0].split("=", 1)
                self.cookies[name] = value
        except (OSError, http.client.HTTPException) as error:
            fault = type(error).__name__
            self.connection.close()
            self.connection = None
        self.requests.append((began, time.time(), method, path.split("?")[0].split("/")[1], fault))
        return answer if fault is None else None

    def insist(self, method, path, form=None):
        """Sends the same request until it is answered; None only after the end."""
        while True:
            answer = self.ask(method, path, form)
            if answer or (stop.is_set() and time.time() > stop.since + PATIENCE_S):
                return answer
            time.sleep(0.25)

    def sign_up(self, ask):
        """As a new person; on failure the form is kept for the next time, and the person stays who they are."""
        before = self.headers, self.cookies
        # Each comes from an address of their own, since sign-ups of one address are throttled.
        address = f"198.18.{random.randrange(256)}.{random.randrange(256)}"
        self.headers, self.cookies = {"X-Client-City": CITIES[self.region][1], "X-Forwarded-For": address}, {}
        if self.form is None:
            page = ask("GET", "/register")
            if page:
                number = re.search(r'name="id" value="([^"]+)"', page[2])[1]
                self.form = {"id": number, "city": CITIES[self.region][0], "first_name": "Drill", "last_name": ""}
                self.form.update(email="drill@example.com", username="drill" + uuid.uuid4().hex[:12])
                self.form.update(password=uuid.uuid4().hex)
        if self.form and ask("POST", "/register", self.form):
            self.users.append(self.form["username"])
            self.form = None
        else:
            self.headers, self.cookies = before

    def ride(self):
        city, _, lat, lon = CITIES[self.region]
        page = self.insist("GET", f"/vehicles?city={city}")
        # While a region does not answer its list has no buttons.
        forms = re.findall(r'<form method="post" action="/rides">.*?</form>', page[2], re.S) if page else []
        if not forms:
            time.sleep(0.25)
            return
        form = dict(re.findall(r"<input type=hidden name=(\w+) value=\"([^\"]*)\"", random.choice(forms)))
        where = f"/vehicles/{form['region']}/{form['vehicle']}/reserve"
        if self.insist("POST", where, {"city": form["city"], "type": form["type"]}) is None:
            return
        started = self.insist("POST", "/rides", dict(form, promo=""))
        if started is None:
            return
        ride = started[1]["Location"]
        if not ride.startswith(f"/rides/{self.region}/"):
            self.refused += 1  # somebody else was faster
            return
        self.rides.append(ride.rsplit("/", 1)[1])
        self.insist("GET", ride)
        self.insist("POST", f"{ride}/end", {"city": city, "place": "Corner", "lat": lat, "lon": lon})
        for path in (ride, "/rides", "/"):
            self.insist("GET", path)

    def run(self):
        self.sign_up(self.insist)
        while not stop.is_set():
            for _ in range(RIDES_PER_PERSON):
                if not stop.is_set():
                    self.ride()
                    time.sleep(random.uniform(0, 0.1))
            if not stop.is_set():
                self.sign_up(self.ask)
        if self.form:
            self.sign_up(self.insist)


def end(_signal, _frame):
    stop.since = time.time()
    stop.set()


def ride(url, result):
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    address = urllib.parse.urlsplit(url).netloc
    riders = [Rider(address, region) for region in list(CITIES) * RIDERS_PER_REGION]
    for rider in riders:
        rider.start()
    for rider in riders:
        rider.join()
    everybody = [vars(rider) for rider in riders]
    kept = ("region", "requests", "rides", "users", "refused")
    with open(result, "w", encoding="utf-8") as file:
        json.dump([{name: one[name] for name in kept} for one in everybody], file)


def report(result, events, rows):
    with open(result, encoding="utf-8") as file:
        riders = json.load(file)
    with open(events, encoding="utf-8") as file:
        events = [line.split(maxsplit=2) for line in file.read().splitlines()]
    with open(rows, encoding="utf-8") as file:
        rows = [tuple(line.split()) for line in file if line.strip()]
    breaches = []
    print(f"{'event':<40}{'riders':<16}{'requests':>9}{'failed GET':>12}{'failed POST':>13}{'longest':>9}{'RTO':>8}")
    for at, (began, region, name) in enumerate(events):
        began, until = float(began), float(events[at + 1][0]) if at + 1 < len(events) else float("inf")
        every = [(one["region"], r) for one in riders for r in one["requests"] if began <= r[1] < until]
        riding = [(home == region, r) for home, r in every if r[3] != "register"]
        groups = {
            f"of {region}": [r for home, r in riding if home],
            "of the others" if region != "-" else "all": [r for home, r in riding if not home],
            "signing up": [r for _, r in every if r[3] == "register"],
        }
        for number, (of, requests) in enumerate(groups.items()):
            if of == "of -":
                continue
            failed = [r for r in requests if r[4]]
            # Served again from the moment at which the last request that failed had its answer.
            rto = max((r[1] - began for r in failed), default=0)
            longest = max((r[1] - r[0] for r in requests), default=0)
            gets, posts = (sum(r[2] == method for r in failed) for method in ("GET", "POST"))
            print(f"{name:<40}{of:<16}{len(requests):>9}{gets:>12}{posts:>13}{longest:>8.1f}s{rto:>7.1f}s")
            limit = next((limits[number] for word, limits in LIMITS_S.items() if name.endswith(word)), 0)
            if rto > limit:
                breaches.append(f"{name}: riders {of} were not all served within {limit} s, but after {rto:.1f} s")
            if not requests and of != "signing up":
                breaches.append(f"{name}: riders {of} asked for nothing")
    faults = {}
    for request in (r for one in riders for r in one["requests"] if r[4]):
        key = f"{request[2]} /{request[3]}: {request[4]}"
        faults[key] = faults.get(key, 0) + 1
    for key, count in sorted(faults.items()):
        print(f"  {count:>4} x {key}")
    for kind in ("ride", "user"):
        answered = [one for rider in riders for one in rider[kind + "s"]]
        there = [row[1] for row in rows if row[0] == kind]
        lost, doubled = set(answered) - set(there), len(there) - len(set(answered) & set(there))
        print(f"{kind}s: {len(answered)} answered, {len(there)} in the database, {len(lost)} lost, {doubled} doubled")
        if lost or doubled or not answered or len(set(answered)) != len(answered):
            breaches.append(f"{kind}s were lost or doubled, or there were none")
    for breach in breaches:
        print(f"BREACH: {breach}")
    return 1 if breaches else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["ride"] and len(sys.argv) == 4:
        sys.exit(ride(*sys.argv[2:]))
    if sys.argv[1:2] == ["report"] and len(sys.argv) == 5:
        sys.exit(report(*sys.argv[2:]))
    sys.exit(__doc__)
