// The page works by itself once it is there; this follows what happens, and signs in and out.
(() => {
  'use strict';
  const live = document.getElementById('live');
  const form = document.getElementById('sign-in');

  if (form) {
    form.addEventListener('submit', async submitted => {
      submitted.preventDefault();
      const error = document.getElementById('sign-in-error');
      error.hidden = true;
      try {
        const answer = await fetch('/v1/session', {
          method: 'POST',
          headers: { 'Content-Type': 'application/json' },
          body: JSON.stringify({ schema_version: 1, token: document.getElementById('token').value.trim() }),
        });
        if (answer.ok) { location.replace('/'); return; }
        const problem = await answer.json().catch(() => ({}));
        error.textContent = [problem.title, problem.detail].filter(Boolean).join(' ') || `The server answered ${answer.status}.`;
      } catch { error.textContent = 'The server does not answer.'; }
      error.hidden = false;
    });
  }
  if (!live) return;

  document.getElementById('sign-out').addEventListener('click', async () => {
    await fetch('/v1/session', { method: 'DELETE' }).catch(() => {});
    location.replace('/');
  });

  const words = seconds => seconds < 90 ? `${Math.floor(seconds)} s`
    : seconds < 5400 ? `${Math.floor(seconds / 60)} min`
    : seconds < 129600 ? `${Math.floor(seconds / 3600)} h ${Math.floor(seconds % 3600 / 60)} min`
    : `${Math.floor(seconds / 86400)} d ${Math.floor(seconds % 86400 / 3600)} h`;
  const clocks = () => {
    for (const time of live.querySelectorAll('time[data-since]')) time.textContent = words(Math.max(0, (Date.now() - Date.parse(time.dateTime)) / 1000));
    for (const time of live.querySelectorAll('time[data-clock]')) { time.textContent = new Date(time.dateTime).toLocaleTimeString([], { hour12: false }); time.title = time.dateTime; }
  };

  const pulse = document.getElementById('pulse');
  const say = (state, text) => { if (pulse.textContent !== text) { pulse.className = `pulse ${state}`; pulse.textContent = text; } };
  const shown = new Map();
  for (const part of live.querySelectorAll('[data-part]')) shown.set(part.id, part.outerHTML);
  clocks();
  setInterval(clocks, 1000);

  const show = html => {
    const fresh = document.createElement('template');
    fresh.innerHTML = html;
    for (const part of fresh.content.querySelectorAll('[data-part]')) {
      if (shown.get(part.id) === part.outerHTML) continue;
      shown.set(part.id, part.outerHTML);
      const old = document.getElementById(part.id);
      for (const open of old.querySelectorAll('details[open]')) {
        const same = part.querySelector(`#${CSS.escape(open.id)}`);
        if (same) same.open = true;
      }
      const focused = old.contains(document.activeElement) ? document.activeElement.closest('details')?.id : null;
      if (part.dataset.title) {
        if (document.title.replace(/\d+/g, '') !== part.dataset.title.replace(/\d+/g, '')) document.getElementById('announce').textContent = part.querySelector('h1').textContent;
        document.title = part.dataset.title;
      }
      old.replaceWith(part);
      if (focused) document.getElementById(focused)?.querySelector('summary')?.focus();
    }
    clocks();
  };

  const follow = () => {
    const stream = new EventSource('/dashboard/live');
    stream.addEventListener('status', message => { show(JSON.parse(message.data)); say('on', 'live'); });
    stream.onerror = async () => {
      say('off', `connection lost, last seen ${new Date().toLocaleTimeString([], { hour12: false })}`);
      if (stream.readyState !== EventSource.CLOSED) return;
      const answer = await fetch('/v1/session').catch(() => null);
      if (answer && answer.status === 401) location.replace('/');
      else setTimeout(follow, 1000);
    };
  };
  follow();
})();
