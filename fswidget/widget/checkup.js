// The other side of `fs.doctor()`: answers what the kernel asks, and shows what came out.

const page = Math.random().toString(36).slice(2);

/** The bytes that the notebook would save of this widget; null where the host does not say. */
async function saved(model) {
  const manager = await model.widget_manager;
  if (typeof manager?.get_state !== "function") return null;
  const { state } = await manager.get_state();
  const token = model.get("token");
  const found = Object.values(state).find((kept) => kept.state?.token === token);
  return found ? JSON.stringify(found).length : 0;
}

export default {
  render({ model, el }) {
    const view = Math.random().toString(36).slice(2);
    const text = document.createElement("pre");
    text.className = "fswidget-doctor";
    text.setAttribute("role", "status");
    text.style.whiteSpace = "pre-wrap";
    el.append(text);
    const show = () => {
      text.textContent = model.get("text");
    };
    const tell = (content, buffers) => model.send({ ...content, view, page }, undefined, buffers);
    const hear = (message, buffers) => {
      if (message.type === "echo") tell({ type: "echo" }, buffers.map(whole));
      if (message.type === "thread") tell({ type: "thread" });
    };
    model.on("change:text", show);
    model.on("msg:custom", hear);
    show();
    tell({ type: "hello", agent: navigator.userAgent, token: model.get("token") });
    saved(model).then(
      (bytes) => tell({ type: "saved", bytes }),
      (error) => tell({ type: "saved", bytes: null, error: String(error) }),
    );
    return () => {
      model.off("change:text", show);
      model.off("msg:custom", hear);
    };
  },
};

/** A buffer of its own; hosts hand out views of larger ones. */
function whole(buffer) {
  if (buffer instanceof ArrayBuffer) return buffer;
  const { buffer: all, byteOffset, byteLength } = buffer;
  return all.slice(byteOffset, byteOffset + byteLength);
}
