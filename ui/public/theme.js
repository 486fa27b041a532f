// Before the first paint, so that a dark page never flashes white. A file of its own: the page's content policy allows no inline scripts.
(function () {
  var wanted = null;
  try {
    wanted = localStorage.getItem("axoneme.theme");
  } catch (error) {
    // Storage is closed to this page; the system's setting is used.
  }
  if (wanted !== "dark" && wanted !== "light") wanted = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  document.documentElement.dataset.theme = wanted;
})();
