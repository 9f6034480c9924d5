// On a narrow screen JupyterLab begins with its panels closed: the file panel would hide all else.
window._JUPYTERLAB.courseyardPlugins.push({
  id: 'courseyard:narrow',
  description: 'Closes the panels at the start on narrow screens.',
  autoStart: true,
  activate: app => {
    app.restored.then(() => {
      if (window.matchMedia('(max-width: 760px)').matches) {
        app.shell.collapseLeft?.();
        app.shell.collapseRight?.();
      }
    });
  }
});
