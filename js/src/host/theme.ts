// Light or dark. The page's own colours are in widget.css, the figures' in figures.py.

export type Theme = "light" | "dark";

/** The theme of whatever surrounds an element: JupyterLab's, VS Code's, else the system's. */
export function surroundingTheme(): Theme {
  const { body } = document;
  if (body.dataset.jpThemeLight) return body.dataset.jpThemeLight === "true" ? "light" : "dark";
  const kind = body.dataset.vscodeThemeKind;
  if (kind) return kind.includes("light") ? "light" : "dark";
  const root = document.documentElement;
  const named = `${root.className} ${body.className} ${root.dataset.theme ?? ""} ${body.dataset.theme ?? ""}`;
  if (/\b(dark|dark-mode|theme-dark)\b/.test(named)) return "dark";
  if (/\b(light|light-mode|theme-light)\b/.test(named)) return "light";
  return window.matchMedia?.("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** Call back when the surroundings' theme may have changed; returns how to stop. */
export function watchTheme(changed: () => void): () => void {
  const observer = new MutationObserver(changed);
  const attributeFilter = ["class", "data-theme", "data-jp-theme-light", "data-vscode-theme-kind"];
  observer.observe(document.body, { attributes: true, attributeFilter });
  observer.observe(document.documentElement, { attributes: true, attributeFilter });
  const query = window.matchMedia?.("(prefers-color-scheme: dark)");
  query?.addEventListener("change", changed);
  return () => {
    observer.disconnect();
    query?.removeEventListener("change", changed);
  };
}
