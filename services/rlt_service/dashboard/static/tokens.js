// Tokens of a score: their figures are read out below them, arrow keys go from one to the next.
(() => {
  const tell = (token) => {
    const place = token.closest(".scored")?.querySelector(".readout");
    if (place) place.textContent = `“${token.textContent}” · ${token.dataset.figures}`;
  };
  const ofToken = (event) => (event.target instanceof Element ? event.target.closest(".tok[data-figures]") : null);
  for (const name of ["mouseover", "focusin", "click"]) {
    document.addEventListener(name, (event) => {
      const token = ofToken(event);
      if (token) tell(token);
    });
  }
  document.addEventListener("keydown", (event) => {
    const token = ofToken(event);
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!token || !step) return;
    const next = step > 0 ? token.nextElementSibling : token.previousElementSibling;
    if (!next) return;
    event.preventDefault();
    token.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
})();
