// Nbgrader → Formgrader opens a tab of its own.
//
// nbgrader's own plugin shows the formgrader in a frame inside JupyterLab. Under a hub that frame
// stays blank: JupyterHub forbids framing, because every user's server shares one origin, so a page
// of another user's server could frame the formgrader, read it and click in it. That protection
// stays; this plugin takes the place of nbgrader's ("@jupyter/nbgrader:formgrader" is switched off)
// and answers to the same command.
(() => {
  const shows = (tab, path) => {
    try {
      return tab.location.pathname.startsWith(path);
    } catch {
      return false; // it went to another site
    }
  };
  window._JUPYTERLAB.courseyardPlugins.push({
    id: 'courseyard:formgrader',
    description: 'Opens the formgrader in a tab of its own.',
    autoStart: true,
    activate: app => {
      // JupyterLab gives a whole address, a location compares by its path.
      const base = new URL(app.serviceManager.serverSettings.baseUrl, window.location.href).pathname;
      app.commands.addCommand('nbgrader:open-formgrader', {
        label: 'Formgrader',
        caption: 'Grade this course in a new tab',
        execute: () => {
          // Without an address: a tab that stands is not loaded anew, which would lose the place
          // and the unsaved words of somebody who is grading there.
          const tab = window.open('', 'formgrader-' + base);
          if (!tab) {
            window.alert('The browser blocked the new tab. Allow pop-ups for this page and try again.');
          } else if (shows(tab, base + 'formgrader')) {
            tab.focus();
          } else {
            tab.location = base + 'formgrader';
          }
        }
      });
    }
  });
})();
