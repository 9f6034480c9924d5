// Validate and Submit read files, so what was typed is saved before, in all tabs of this server.
//
// nbgrader asks its server for both; here the request waits until the files are saved. What cannot
// be saved is told in nbgrader's own words for a failure ({success, value}), and nothing is asked.
(() => {
  const base = JSON.parse(document.getElementById('jupyter-config-data').textContent).baseUrl;
  const root = new URL(base, location.href).pathname;
  const ACTION = { submit: 'submitted', validate: 'validated' };
  const HEARD = 300; // ms until another tab has said that it saves
  const SAVED = 20000; // ms until it has saved
  let app;

  // Where the action reads: a part of a file's path.
  const read = async request => {
    const url = new URL(request.url);
    const action = url.pathname.startsWith(root + 'assignments/') && url.pathname.split('/').pop();
    if (request.method !== 'POST' || !Object.hasOwn(ACTION, action || '')) {
      return null;
    }
    const text = await request.clone().text();
    const body = { ...Object.fromEntries(url.searchParams), ...(text ? JSON.parse(text) : {}) };
    const folder =
      action === 'submit'
        ? `${body.course_id}/${body.assignment_id}`
        : body.path.replace(/^\/+/, '').replace(/\/[^/]*$/, '');
    return { action, part: `/${folder}/` };
  };

  // The documents of this tab there that are not saved.
  const unsaved = part => {
    const found = new Map();
    for (const widget of app ? app.shell.widgets('main') : []) {
      const context = widget.context;
      if (context?.model?.dirty) {
        const path = '/' + app.serviceManager.contents.localPath(context.path).replace(/^\/+/, '');
        if (path.includes(part)) {
          found.set(path, context);
        }
      }
    }
    return found;
  };

  const save = async part => {
    // JupyterLab shows what went wrong; here it counts what is left.
    await Promise.allSettled([...unsaved(part).values()].map(context => context.save()));
    return [...unsaved(part).keys()].map(path => path.split('/').pop());
  };

  const tabs = new BroadcastChannel('courseyard-saving ' + root);
  const waiting = new Map(); // number of a question → told of each answer
  tabs.onmessage = async ({ data }) => {
    if (data.part && unsaved(data.part).size) {
      tabs.postMessage({ answer: data.ask, begun: true });
      tabs.postMessage({ answer: data.ask, left: await save(data.part) });
    } else if (data.answer) {
      waiting.get(data.answer)?.(data);
    }
  };

  // What the other tabs could not save.
  const others = part =>
    new Promise(done => {
      const ask = Math.random();
      const left = [];
      let saving = 1; // this one, until all have been heard
      const ended = () => {
        saving -= 1;
        if (!saving) {
          waiting.delete(ask);
          done(left);
        }
      };
      waiting.set(ask, data => {
        if (data.begun) {
          saving += 1;
        } else {
          left.push(...data.left);
          ended();
        }
      });
      setTimeout(ended, HEARD);
      setTimeout(() => done(left), SAVED);
      tabs.postMessage({ ask, part });
    });

  const ask = window.fetch.bind(window);
  window.fetch = async (input, options) => {
    const request = new Request(input, options);
    const wanted = await read(request);
    if (wanted) {
      const left = (await Promise.all([save(wanted.part), others(wanted.part)])).flat();
      if (left.length) {
        const value =
          `Nothing was ${ACTION[wanted.action]}: ${left.join(', ')} could not be saved. ` +
          'Save it (Ctrl+S), then try again.';
        return Response.json({ success: false, value });
      }
    }
    return ask(request);
  };

  window._JUPYTERLAB.courseyardPlugins.push({
    id: 'courseyard:saving',
    description: 'Saves before an assignment is validated or submitted.',
    autoStart: true,
    activate: found => {
      app = found;
    }
  });
})();
