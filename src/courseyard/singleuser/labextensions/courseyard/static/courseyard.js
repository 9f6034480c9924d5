// Courseyard's plugins for JupyterLab and Notebook 7, one in each file beside this one.
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
      element.src = new URL(name, document.currentScript.src);
      element.onload = done;
      element.onerror = failed;
      document.head.append(element);
    });
  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB.courseyardPlugins = plugins;
  const parts = Promise.all(['formgrader.js', 'saving.js'].map(script));
  window._JUPYTERLAB.courseyard = {
    init: () => parts,
    get: async () => () => ({ __esModule: true, default: plugins })
  };
})();
