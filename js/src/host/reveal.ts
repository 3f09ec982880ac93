// Hosts scroll to the cell after the one that was run, which can leave half of a view out of sight.

/** So long a view that a cell has shown is new. */
const NEW_MS = 5000;
/** JupyterLab scrolls once more for as long as outputs grow, and then leaves off. */
const SCROLLED_MS = 250;

/** Bring a view that a cell has just shown wholly into sight, where some of it is and nobody types. */
export function reveal(el: HTMLElement, { shown }: { shown: number }): () => void {
  if (typeof IntersectionObserver === "undefined") return () => {};
  let timer: ReturnType<typeof setTimeout> | undefined;
  const observer = new IntersectionObserver((entries) => {
    if (!entries.at(-1)?.isIntersecting) return;
    observer.disconnect();
    timer = setTimeout(() => {
      const typing = (document.activeElement as HTMLElement | null)?.isContentEditable;
      if (!typing && Date.now() - shown < NEW_MS) el.scrollIntoView({ block: "nearest" });
    }, SCROLLED_MS);
  });
  observer.observe(el);
  return () => {
    observer.disconnect();
    clearTimeout(timer);
  };
}
