// What nbgrader's list of assignments lacks: when one is due, and feedback that opens with one click.
//
// The server's answer says both (singleuser/assignments.py). nbgrader's list shows names alone, and its
// "view feedback" shows a folder in the file browser.
(() => {
  const base = JSON.parse(document.getElementById('jupyter-config-data').textContent).baseUrl;
  const root = new URL(base, location.href).pathname;
  let feedback = new Map(); // assignment → for each submission, where its feedback lies
  const LISTS = ['released', 'fetched', 'submitted'].map(each => `#${each}_assignments_list`);
  const NAMES = LISTS.map(each => `${each} > .list_item > div > .item_name`).join(', ');
  const PATIENCE = 3000; // ms for nbgrader to show the list

  const show = said => {
    const look = () => {
      for (const name of document.querySelectorAll(NAMES)) {
        const words = said.get(name.firstElementChild?.textContent);
        if (words && !name.querySelector('.courseyard-due')) {
          const due = document.createElement('span');
          due.className = 'courseyard-due';
          due.textContent = ` ${words}`;
          name.append(due);
        }
      }
    };
    const observer = new MutationObserver(look);
    observer.observe(document.body, { childList: true, subtree: true });
    setTimeout(() => observer.disconnect(), PATIENCE);
    look();
  };

  // Before nbgrader's own, which opens the folder.
  document.addEventListener(
    'click',
    event => {
      const row = event.target.closest?.('a')?.closest('#submitted_assignments_list .nested_list_item');
      if (!row) {
        return;
      }
      const name = row.closest('#submitted_assignments_list > .list_item').querySelector('.item_name');
      const rows = [...row.parentElement.querySelectorAll('.nested_list_item')];
      const path = feedback.get(name.firstElementChild.textContent)?.[rows.indexOf(row)];
      if (path) {
        event.stopImmediatePropagation();
        event.preventDefault();
        window.open(root + 'courseyard/feedback/' + path.split('/').map(encodeURIComponent).join('/'));
      }
    },
    true
  );

  const ask = window.fetch.bind(window);
  window.fetch = async (input, options) => {
    const reply = await ask(input, options);
    const path = new URL(reply.url || input.url || input, location.href).pathname;
    if (path.startsWith(root + 'assignments')) {
      const answer = await reply.clone().json().catch(() => null);
      if (answer?.success && Array.isArray(answer.value)) {
        show(new Map(answer.value.map(each => [each.assignment_id, each.said])));
        const submitted = answer.value.filter(each => each.submissions);
        const paths = each => each.submissions.map(one => one.local_feedback_path);
        feedback = new Map(submitted.map(each => [each.assignment_id, paths(each)]));
      }
    }
    return reply;
  };
})();
