// What Validate and Submit answer, in one sentence; what nbgrader says besides lies behind Details.
//
// Its dialogs begin with words of its own and show a traceback. The server's answer holds a sentence
// (`said`, or `value` where something failed) and a `log` (singleuser/validate.py, assignments.py).
(() => {
  const base = JSON.parse(document.getElementById('jupyter-config-data').textContent).baseUrl;
  const root = new URL(base, location.href).pathname + 'assignments/';
  const BODY = { validate: 'validation-message', submit: 'submission-message' };
  const PATIENCE = 5000; // ms for nbgrader to open its dialog

  const element = (name, text) => Object.assign(document.createElement(name), { textContent: text });

  const details = (open, ...parts) => {
    const found = element('details', '');
    found.open = open;
    found.append(element('summary', 'Details'), ...parts);
    return found;
  };

  const rework = (body, answer) => {
    const theirs = [...body.childNodes];
    const cells = body.querySelector('pre') !== null;
    const sentence = element('p', answer.success ? answer.said : answer.value);
    sentence.className = 'courseyard-said';
    body.replaceChildren(sentence);
    if (answer.log) {
      body.append(details(false, element('pre', answer.log)));
    } else if (answer.success && cells) {
      body.append(details(true, ...theirs)); // the cells that fail are what somebody wants to see
    }
  };

  // As soon as nbgrader opens its dialog, and before anybody sees it.
  const watch = (action, answer) => {
    const look = () => {
      const body = document.getElementById(BODY[action]);
      const found = body && !body.querySelector('.courseyard-said');
      if (found) {
        observer.disconnect();
        rework(body, answer);
      }
      return found;
    };
    const observer = new MutationObserver(look);
    if (!look()) {
      observer.observe(document.body, { childList: true, subtree: true });
      setTimeout(() => observer.disconnect(), PATIENCE);
    }
  };

  const ask = window.fetch.bind(window);
  window.fetch = async (input, options) => {
    const reply = await ask(input, options);
    const path = new URL(reply.url || input.url || input, location.href).pathname;
    const action = path.startsWith(root) ? path.slice(root.length) : '';
    if (Object.hasOwn(BODY, action)) {
      const answer = await reply.clone().json().catch(() => null);
      if (answer && (answer.said || !answer.success)) {
        watch(action, answer);
      }
    }
    return reply;
  };
})();
