// Courseyard's plugins for JupyterLab and Notebook 7, and what stands around nbgrader's; in files beside this one.
//
// A federated extension by hand, without a build: a container with `init` and `get`
// (webpack's module federation; jupyterlab/federated_labextensions.py reads package.json).
// JupyterLab waits for `init` before it loads anything of its own. The files are scripts, since
// JupyterLab begins at the page's load event, which waits for scripts and not for modules.
(() => {
  const plugins = [];
  const script = name =>
    new Promise((done, failed) => {
      const element = document.createElement('script');
      element.async = false; // in this order
      element.src = new URL(name, document.currentScript.src);
      element.onload = done;
      element.onerror = failed;
      document.head.append(element);
    });
  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB.courseyardPlugins = plugins;
  // dialogs.js and assignments.js ask through saving.js, so they come after it.
  const files = ['formgrader.js', 'narrow.js', 'saving.js', 'dialogs.js', 'assignments.js'];
  const parts = Promise.all(files.map(script));
  window._JUPYTERLAB.courseyard = {
    init: () => parts,
    get: async () => () => ({ __esModule: true, default: plugins })
  };
})();
