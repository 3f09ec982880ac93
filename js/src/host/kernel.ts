// Whether there is still a kernel behind a model, as far as the host tells.

import { listen, type Model } from "./model";

interface Signal<T> {
  connect(slot: (sender: unknown, value: T) => void): void;
  disconnect(slot: (sender: unknown, value: T) => void): void;
}

/** What of JupyterLab's widget manager this reads; other hosts have none of it. */
interface Manager {
  context?: {
    sessionContext?: {
      statusChanged?: Signal<string>;
      kernelChanged?: Signal<{ newValue: unknown }>;
    };
  };
}

const ENDINGS = ["restarting", "autorestarting", "terminating", "dead"];

/** Call back when the kernel may be gone; returns how to stop. */
export function watchKernel(model: Model, lost: () => void): () => void {
  const { widget_manager: manager } = model as unknown as { widget_manager?: Manager };
  const { statusChanged, kernelChanged } = manager?.context?.sessionContext ?? {};
  const status = (_: unknown, value: string) => {
    if (ENDINGS.includes(value)) lost();
  };
  const changed = (_: unknown, { newValue }: { newValue: unknown }) => {
    if (!newValue) lost();
  };
  statusChanged?.connect(status);
  kernelChanged?.connect(changed);
  const stop = listen(model, { comm_live_update: lost });
  return () => {
    stop();
    statusChanged?.disconnect(status);
    kernelChanged?.disconnect(changed);
  };
}
