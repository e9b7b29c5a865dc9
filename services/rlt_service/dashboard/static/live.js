// Cells of a page that stays open: only what has changed is sent, and chosen boxes stay chosen.
window.rltPatch = (changes) => {
  for (const [name, html] of Object.entries(changes)) {
    const place = document.querySelector(`[data-live="${CSS.escape(name)}"]`);
    if (place) place.innerHTML = html;
  }
};
