// Comfort on top of pages that work without it: Leaflet maps, "near me", the running clock of a
// ride, positions reported while riding, and numbers that change. No inline code, no inline styles: see the CSP.
(() => {
  'use strict';
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;

  /* Maps: replaces the server's drawing by Leaflet, from the JSON beside it. */
  function drawMap(box) {
    let data;
    try { data = JSON.parse(box.querySelector('script').textContent); } catch { return; }
    const points = [...(data.pins || []), ...(data.route || [])];
    const extent = points.length ? points : [...(data.area || [])];
    if (data.me) extent.push(data.me);
    if (!extent.length && !data.centre) return;

    const drawing = box.querySelector('svg');
    // The server draws the first one last, on top.
    const pins = all('.pin', drawing).reverse();
    drawing.remove();
    const holder = document.createElement('div');
    holder.setAttribute('role', 'region');
    holder.setAttribute('aria-label', box.dataset.label);
    box.append(holder);
    const L = window.L;
    const hero = box.closest('.hero');
    const wide = matchMedia('(min-width: 56rem)').matches;
    // A finger or the wheel on a map in the way of the page scrolls the page; two fingers move the map.
    const touch = matchMedia('(pointer: coarse)').matches;
    const map = L.map(holder, { zoomAnimation: !calm, fadeAnimation: !calm, markerZoomAnimation: !calm, dragging: !touch, scrollWheelZoom: wide && !!box.closest('.split'), zoomControl: false, attributionControl: false });
    L.control.zoom({ position: hero ? 'topright' : 'topleft' }).addTo(map);
    // On the home page a card covers the left of the map, or its lower edge on narrow screens.
    const left = hero && wide ? box.clientWidth * 0.45 : 36;
    if (extent.length > 1) map.fitBounds(extent, { paddingTopLeft: [left, 36], paddingBottomRight: [36, hero && !wide ? 80 : 36], maxZoom: 17 });
    else map.setView(extent[0] || data.centre, 16);

    const Grid = L.GridLayer.extend({ createTile: () => L.DomUtil.create('div', 'grid-tile') });
    new Grid({ tileSize: 64, zIndex: 1 }).addTo(map);
    if (data.tiles) {
      L.control.attribution({ prefix: false }).addTo(map);
      L.tileLayer(data.tiles, { maxZoom: 19, zIndex: 2, className: 'tiles', referrerPolicy: 'strict-origin-when-cross-origin', attribution: escape(data.attribution) }).addTo(map);
    }
    L.control.scale({ imperial: data.us, metric: !data.us, position: hero ? 'topleft' : 'bottomleft' }).addTo(map);
    if ((data.area || []).length) L.polygon(data.area, { className: 'area', interactive: false }).addTo(map);
    const route = L.polyline(data.route || [], { className: 'route', interactive: false }).addTo(map);
    // Where a ride ends can be said by a click.
    const form = document.querySelector('form[data-position]');
    if (form) map.on('click', ({ latlng }) => { form.dataset.position = 'chosen'; fill(form, { coords: { latitude: latlng.lat, longitude: latlng.wrap().lng } }); });
    const areaForm = document.querySelector('form[data-area]');
    if (areaForm) drawArea(L, map, areaForm);
    const mark = (point) => L.marker(point, { icon: L.divIcon({ className: 'me-icon', iconSize: [18, 18] }), interactive: false, keyboard: false, zIndexOffset: 90000 }).addTo(map);
    let me = data.me && mark(data.me);
    // While riding, the own dot moves and leaves its way behind.
    box.follow = (point, noted) => {
      if (noted) route.addLatLng(point);
      me = me ? me.setLatLng(point) : mark(point);
      if (!map.getBounds().contains(point)) map.panTo(point, { animate: !calm });
    };
    pins.forEach((pin, index) => addPin(L, map, data.pins[index], pin, document.getElementById('v' + (index + 1)), pins.length - index));
    // Where a list beside the map says the same, its entries are what the keyboard reaches.
    if (drawing.querySelector('[aria-hidden]')) map.getPane('markerPane').setAttribute('aria-hidden', 'true');
    if (box.dataset.search) offerSearch(box, map);
  }

  /* "Search this area", once the map is elsewhere. */
  function offerSearch(box, map) {
    const asked = map.getCenter();
    const link = document.createElement('a');
    link.className = 'search-here';
    link.textContent = 'Search this area';
    link.hidden = true;
    box.append(link);
    map.on('moveend', () => {
      const { lat, lng } = map.getCenter().wrap();
      link.hidden = map.latLngToContainerPoint(asked).distanceTo(map.getSize().divideBy(2)) < 60;
      link.href = `${box.dataset.search}&map=${lat.toFixed(3)},${lng.toFixed(3)}`;
    });
  }

  /* A service area is drawn corner by corner into its form's text field, and what is typed there is drawn. */
  function drawArea(L, map, form) {
    const field = form.elements.area;
    const shape = L.polygon([], { className: 'area', interactive: false }).addTo(map);
    const handles = L.layerGroup().addTo(map);
    const icon = L.divIcon({ className: 'me-icon', iconSize: [18, 18] });
    const corner = (at) => { const { lat, lng } = at.wrap(); return [lng, lat].map((degrees) => Number(degrees.toFixed(6))); };
    let ring = [];
    const show = (corners) => {
      shape.setLatLngs(corners.map(([lon, lat]) => [lat, lon]));
      ring = corners;
      handles.clearLayers();
      ring.forEach(([lon, lat], nth) => L.marker([lat, lon], { icon, draggable: true, keyboard: false }).addTo(handles)
        .on('dragend', ({ target }) => draw(ring.map((old, n) => (n === nth ? corner(target.getLatLng()) : old)))));
    };
    // Without any corner the field has the stored area again.
    const draw = (corners) => { show(corners); field.value = ring.length ? JSON.stringify(ring) : field.defaultValue; };
    map.on('click', ({ latlng }) => draw([...ring, corner(latlng)]));
    field.addEventListener('input', () => { try { show(JSON.parse(field.value)); } catch { /* half typed */ } });
    if (form.querySelector('[aria-invalid]')) field.dispatchEvent(new Event('input'));
    const tools = form.querySelector('[hidden].actions');
    tools.hidden = false;
    tools.querySelector('button').addEventListener('click', () => draw(ring.slice(0, -1)));
  }

  function escape(text) {
    const node = document.createElement('span');
    node.textContent = text || '';
    return node.innerHTML;
  }

  /* A pin of the server's drawing as a marker; `row` is its entry of the list, if there is one. */
  function addPin(L, map, point, pin, row, nth) {
    const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    svg.setAttribute('viewBox', '-16 -16 32 32');
    pin.removeAttribute('transform');
    svg.append(pin);
    L.marker(point, { icon: L.divIcon({ className: 'pin-icon', html: svg, iconSize: [32, 32] }), keyboard: false, zIndexOffset: nth * 1000 }).addTo(map);
    const here = pin.getAttribute('href')?.startsWith('#');
    const mark = (on) => { row?.classList.toggle('on', on); pin.closest('.pin-icon').classList.toggle('on', on); };
    pin.addEventListener('click', (event) => {
      // The end of a drag is no click; and what is on this page needs no step back to leave.
      if (here || map.dragging.moved()) event.preventDefault();
      if (!here || !row) return;
      all('.card.on').forEach((other) => other.classList.remove('on'));
      row.classList.add('on');
      row.scrollIntoView({ block: 'center', behavior: calm ? 'auto' : 'smooth' });
    });
    for (const [of, begin, end] of [[pin, 'mouseenter', 'mouseleave'], [row, 'mouseenter', 'mouseleave'], [row, 'focusin', 'focusout']]) {
      of?.addEventListener(begin, () => mark(true));
      of?.addEventListener(end, () => mark(false));
    }
  }

  /* Position: "near me" buttons send the form; forms with data-position are filled in quietly. */
  const locate = () => new Promise((resolve, reject) => navigator.geolocation.getCurrentPosition(resolve, reject, { enableHighAccuracy: true, timeout: 10000, maximumAge: 30000 }));
  function fill(form, { coords }) {
    for (const [name, value] of [['lat', coords.latitude], ['lon', coords.longitude]]) {
      const input = form.elements[name];
      // An address does not tell where exactly somebody is.
      if (input) { input.disabled = false; input.value = value.toFixed(form.method === 'get' ? 3 : 6); }
    }
  }
  function positionButton(form, send) {
    const button = form.querySelector('button[type=button]');
    if (!button) return;
    form.hidden = button.hidden = false;
    button.addEventListener('click', async () => {
      const status = form.querySelector('[role=status]');
      status.textContent = 'Finding you…';
      try {
        fill(form, await locate());
        status.textContent = '';
        if (send) form.submit();
      } catch { status.textContent = 'Your browser did not share your location.'; }
    });
  }

  /* Whether a ring of [latitude, longitude] contains a point. */
  function contains(ring, lat, lon) {
    return ring.filter(([y, x], i) => {
      const [y2, x2] = ring.at(i - 1);
      return (y > lat) !== (y2 > lat) && lon < (x2 - x) * (lat - y) / (y2 - y) + x;
    }).length % 2 === 1;
  }

  /* The running clock and fare of the open ride. Counts from the server's seconds, not from the
     browser's clock, which may be wrong. */
  function runTimer(box) {
    const read = (name) => Number(box.dataset[name]) || 0;
    const money = new Intl.NumberFormat('en', { style: 'currency', currency: box.dataset.currency });
    const unit = 10 ** money.resolvedOptions().maximumFractionDigits;
    const began = performance.now();
    const two = (n) => String(n).padStart(2, '0');
    const form = document.querySelector('form[data-position]');
    const hint = form?.querySelector('[data-fee]');
    const area = hint ? JSON.parse(document.querySelector('[data-map] script').textContent).area : [];
    // Whether the place in the form is inside, and what ending there would cost.
    const judge = (total) => {
      const [lat, lon] = ['lat', 'lon'].map((name) => form.elements[name].value.trim());
      if (!lat || !lon || isNaN(lat) || isNaN(lon)) return;
      const inside = contains(area, Number(lat), Number(lon));
      const fee = Number(hint.dataset.fee);
      const text = inside ? `Inside the service area: ending here costs ${money.format(total / unit)}.`
        : `Outside the service area: ending here costs ${money.format((total + fee) / unit)}, ${money.format(fee / unit)} of it for the place.`;
      hint.classList.toggle('outside', !inside);
      if (hint.textContent !== text) hint.textContent = text;
    };
    const tick = () => {
      const seconds = Math.floor(read('elapsed') + (performance.now() - began) / 1000);
      const hours = Math.floor(seconds / 3600);
      box.querySelector('[data-clock]').textContent = (hours ? hours + ':' + two(Math.floor(seconds / 60) % 60) : Math.floor(seconds / 60)) + ':' + two(seconds % 60);
      const charge = Math.min(read('unlock') + Math.max(1, Math.ceil(seconds / 60)) * read('minute'), Number(box.dataset.most ?? Infinity));
      const fare = charge - read('discount') - Math.floor(charge * read('percent') / 100);
      box.querySelector('[data-fare]').textContent = money.format(Math.max(0, fare) / unit);
      if (hint) judge(Math.max(0, fare));
    };
    tick();
    setInterval(tick, 1000);
  }

  /* What is left of a reservation; then its bar goes. */
  function countDown(box) {
    const end = performance.now() + Number(box.dataset.left) * 1000;
    const tick = () => {
      const seconds = Math.ceil((end - performance.now()) / 1000);
      if (seconds <= 0) { box.closest('aside').hidden = true; return; }
      box.textContent = Math.floor(seconds / 60) + ':' + String(seconds % 60).padStart(2, '0');
      setTimeout(tick, 1000);
    };
    tick();
  }

  /* Positions while riding: collected as they come, sent every 15 seconds, 100 at most, kept when
     sending fails. */
  function reportPositions(box) {
    const waiting = [];
    let [sending, noted] = [false, -Infinity];
    const form = document.querySelector('form[data-position]');
    form?.addEventListener('input', () => { form.dataset.position = 'chosen'; });
    navigator.geolocation.watchPosition((position) => {
      const { latitude, longitude } = position.coords;
      // The server keeps one in five seconds, and none from before the ride.
      const keep = position.timestamp >= performance.timeOrigin && position.timestamp - noted >= 5000;
      document.querySelector('[data-map]').follow?.([latitude, longitude], keep);
      if (keep) { noted = position.timestamp; waiting.push({ at: new Date(position.timestamp).toISOString(), lat: latitude, lon: longitude }); }
      if (waiting.length > 5000) waiting.shift();
      // What the person chose or types stays.
      if (form && !form.dataset.position) fill(form, position);
      box.textContent = 'Your route is being recorded.';
    }, () => { box.textContent = 'Location is off, so distance is measured in a straight line.'; }, { enableHighAccuracy: true, maximumAge: 0 });
    const send = async (keepalive = false) => {
      if (sending || !waiting.length) return;
      sending = true;
      const batch = waiting.slice(0, 100);
      try {
        const answer = await fetch(box.dataset.positions, { method: 'POST', redirect: 'error', keepalive, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ positions: batch }) });
        // What the server will never take (the ride has ended, a bad value) is not worth repeating.
        if (answer.ok || (answer.status >= 400 && answer.status < 500 && answer.status !== 429)) waiting.splice(0, batch.length);
      } catch { /* offline: the next round sends it */ }
      sending = false;
    };
    setInterval(() => send(), 15000);
    addEventListener('pagehide', () => send(true));
    // What waits belongs to the ride: it goes before the end, if that takes no longer than 2 seconds.
    form?.addEventListener('submit', async (event) => {
      event.preventDefault();
      await Promise.race([send(), new Promise((done) => setTimeout(done, 2000))]);
      form.submit();
    }, { once: true });
  }

  /* What is typed blind on a phone is often mistyped, and nobody can reset it: a password can be shown. */
  function reveal(input) {
    const button = document.createElement('button');
    const show = (shown) => {
      input.type = shown ? 'text' : 'password';
      button.textContent = shown ? 'Hide' : 'Show';
      button.setAttribute('aria-label', `${button.textContent} ${input.labels[0].textContent.trim().toLowerCase()}`);
    };
    button.type = 'button';
    button.className = 'link reveal';
    button.addEventListener('click', () => show(input.type === 'password'));
    // Browsers keep what is sent as a password.
    input.form.addEventListener('submit', () => show(false));
    input.spellcheck = false;
    input.autocapitalize = 'none';
    input.after(button);
    show(false);
  }

  /* The fleet's list: all vehicles of the page at once, and how many are chosen. */
  function chooseAll(every) {
    const form = every.form;
    const boxes = all('tbody input:enabled', form);
    const count = () => {
      const chosen = boxes.filter((box) => box.checked).length;
      form.querySelector('[data-chosen]').textContent = chosen ? ` (${chosen})` : '';
      every.checked = chosen === boxes.length;
      every.indeterminate = chosen > 0 && !every.checked;
    };
    every.closest('label').hidden = false;
    form.addEventListener('change', ({ target }) => {
      if (target === every) boxes.forEach((box) => { box.checked = every.checked; });
      count();
    });
    // A page that comes back has its ticks after that.
    addEventListener('pageshow', count);
  }

  /* A page that changes by itself: every few seconds what is new is put into it, while somebody looks. */
  function keepFresh() {
    const link = document.querySelector('a[data-refresh]');
    if (link) setTimeout(async () => {
      try {
        if (!document.hidden) {
          const answer = await fetch(link.href);
          const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
          const [fresh, said] = ['[data-live]', '.flashes'].map((part) => page.querySelector(part));
          // A message is sent once.
          if (said) document.querySelector('main').prepend(said);
          // Signed out, or gone: the link tells.
          if (answer.ok && !fresh) return;
          const focused = document.activeElement;
          if (fresh) merge(document.querySelector('[data-live]'), fresh);
          if (!focused.isConnected) document.querySelector('main').focus({ preventScroll: true });
        }
      } catch { /* offline: the next round */ }
      keepFresh();
    }, link.dataset.refresh * 1000);
  }

  /* Changes what differs and nothing else: what is typed stays, and only what is new is read aloud. */
  function merge(old, fresh) {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeName !== fresh.nodeName) { old.replaceWith(fresh); return; }
    if (!fresh.attributes) { old.data = fresh.data; return; }
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) old.setAttribute(name, value);
    const nodes = [...fresh.childNodes];
    if (nodes.length === old.childNodes.length) [...old.childNodes].forEach((node, nth) => merge(node, nodes[nth]));
    else old.replaceChildren(...nodes);
  }

  keepFresh();
  if (window.L) all('[data-map]').forEach(drawMap);
  all('[data-timer]').forEach(runTimer);
  all('[data-all]').forEach(chooseAll);
  all('[type=password]').forEach(reveal);
  all('[data-left]').forEach(countDown);
  all('[data-print]').forEach((button) => { button.hidden = false; button.addEventListener('click', () => print()); });
  if (navigator.geolocation) {
    all('[data-near]').forEach((form) => positionButton(form, true));
    all('form[data-position]').forEach((form) => positionButton(form, false));
    all('[data-positions]').forEach(reportPositions);
  }
  document.querySelector('.fleet-nav [aria-current]')?.scrollIntoView({ inline: 'center', block: 'nearest' });
  const menu = document.querySelector('.city-switch');
  document.addEventListener('click', (event) => { if (!menu.contains(event.target)) menu.open = false; });
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && menu.open) { menu.open = false; menu.querySelector('summary').focus(); }
  });
})();
