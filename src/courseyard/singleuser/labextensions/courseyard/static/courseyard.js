// Nbgrader → Formgrader opens a tab of its own.
//
// nbgrader's own plugin shows the formgrader in a frame inside JupyterLab. Under a hub that frame
// stays blank: JupyterHub forbids framing, because every user's server shares one origin, so a page
// of another user's server could frame the formgrader, read it and click in it. That protection
// stays; this plugin takes the place of nbgrader's ("@jupyter/nbgrader:formgrader" is switched off)
// and answers to the same command.
//
// A federated extension by hand, without a build: a container with `init` and `get`
// (webpack's module federation; jupyterlab/federated_labextensions.py reads package.json).
(() => {
  const plugin = {
    id: 'courseyard:formgrader',
    description: 'Opens the formgrader in a tab of its own.',
    autoStart: true,
    activate: app => {
      const base = app.serviceManager.serverSettings.baseUrl;
      app.commands.addCommand('nbgrader:open-formgrader', {
        label: 'Formgrader',
        caption: 'Grade this course in a new tab',
        execute: () => {
          const tab = window.open(base + 'formgrader', 'formgrader-' + base);
          if (!tab) {
            window.alert('The browser blocked the new tab. Allow pop-ups for this page and try again.');
          }
        }
      });
    }
  };
  const extension = { __esModule: true, default: plugin };
  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB.courseyard = {
    init: () => {},
    get: () => Promise.resolve(() => extension)
  };
})();
