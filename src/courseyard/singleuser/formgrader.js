// Added to nbgrader 0.9's utils.js, whose functions every page of the formgrader uses.
// `courseyard` says where this server shows folders, and in which zone it shows times.

// In a tab of its own, links to folders lacked the server's prefix.
var linkTo = function (type, path) {
  const page = { notebook: '/notebooks/', file: '/edit/', directory: courseyard.folders + '/' }[type];
  return (_, element) =>
    $(element).attr('href', base_url + page + path).attr('target', '_blank')[0];
};

// A button that can be pressed looks like one: nbgrader gives OK the pale class of a closing cross.
(create => {
  createModal = function (...words) {
    const modal = create(...words);
    modal.find('.modal-footer .btn.close').removeClass('close');
    modal.find('td:contains("Timezone as UTC offset")').text('Time zone (optional)');
    return modal;
  };
})(createModal);

// The zone of all times is said once.
$(() => $('th:contains("Due Date"), th:contains("Timestamp")').append(` (${courseyard.zone})`));

// One sentence, and the log behind Details. Sentences for people are what Courseyard logs: errors that
// begin with what was not done, and warnings that begin with "Note:" or say what was left out.
var createLogModal = function (id, title, message, log, error) {
  const entries = (log || '').split(/\n(?=\[[A-Z]+\] )/).map(entry => entry.trim());
  const said = entries
    .filter(entry => /^\[(ERROR|CRITICAL|WARNING)\] (Not |No |Note: |Left out )/.test(entry))
    .map(entry => entry.replace(/^\[[A-Z]+\] /, ''));
  if (error && !said.some(each => !/^(Note: |Left out )/.test(each))) {
    // The last line of a traceback: what went wrong, without the name of the class.
    said.unshift(error.trim().split('\n').pop().replace(/^[\w.]+: /, ''));
  }
  const body = $('<div/>').append($('<p/>').text(message.replace(/:$/, '.')));
  said.forEach(each => body.append($('<p/>').text(each)));
  const all = [log, error].filter(Boolean).join('\n');
  if (all) {
    body.append($('<details/>').append($('<summary/>').text('Details'), $('<pre/>').text(all)));
  }
  return createModal(id, title, body);
};

// What was not saved says why, and the page shows what is there.
(sync => {
  Backbone.sync = (method, model, options) => {
    const failed = options.error;
    const error = (answer, ...rest) => {
      if (failed) failed(answer, ...rest);
      if (method === 'read') return;
      const reason = answer.responseJSON?.message || 'The server does not answer. Try again.';
      createModal('error-modal', 'Not saved', $('<p/>').text(reason)).on('hidden.bs.modal', () =>
        location.reload()
      );
    };
    return sync(method, model, { ...options, error });
  };
})(Backbone.sync);
