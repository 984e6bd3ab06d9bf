// Runs before the first paint, so that a chosen appearance does not flash in the other one.
try {
  const { theme } = JSON.parse(localStorage.getItem("pocketllama.settings") ?? "{}");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Nothing was chosen, or the browser keeps nothing: the system's appearance it is.
}
