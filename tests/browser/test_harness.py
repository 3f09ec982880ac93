"""The harness itself, on the smallest widget there is: what fails here is not fswidget's fault."""

from collections.abc import Callable

from .jupyter import JupyterServer, Notebook

COUNTER = """
import anywidget, traitlets

class Counter(anywidget.AnyWidget):
    _esm = '''
    export default { render({ model, el }) {
        const button = document.createElement("button");
        const show = () => { button.textContent = `count ${model.get("count")}`; };
        button.addEventListener("click", () => {
            model.set("count", model.get("count") + 1); model.save_changes();
        });
        model.on("change:count", show); show(); el.append(button);
    } }'''
    count = traitlets.Int(0).tag(sync=True)

counter = Counter()
counter
"""


def test_a_click_reaches_the_kernel_and_a_change_the_page(
    open_notebook: Callable[..., Notebook], lab: JupyterServer, complaints: list[str]
) -> None:
    notebook = open_notebook("counter.ipynb", [COUNTER])
    notebook.run_all()
    button = notebook.page.get_by_role("button", name="count 0")
    button.click()
    with lab.kernel("counter.ipynb") as kernel:
        kernel.wait("counter.count == 1")
        kernel.evaluate("setattr(counter, 'count', 41)")
        notebook.page.get_by_role("button", name="count 41").wait_for()
    assert complaints == []
