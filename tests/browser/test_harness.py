"""The harness itself, on the smallest widget there is: what fails here is not fswidget's fault."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from .jupyter import Notebook

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
    open_notebook: Callable[..., Notebook], complaints: list[str]
) -> None:
    notebook = open_notebook("counter.ipynb", [COUNTER])
    notebook.run_all()
    count(notebook)
    assert complaints == []


def count(notebook: Notebook) -> None:
    """To the kernel and back, past a page that is loaded anew; and what fails is told."""
    page = notebook.page
    page.get_by_role("button", name="count 0").click()
    with notebook.server.kernel(notebook.name) as kernel:
        kernel.wait("counter.count == 1")
        notebook.run_code("counter.count = 41; counter")
        expect(page.get_by_role("button", name="count 41")).to_have_count(2)
        notebook.save()
        notebook.open()
        expect(page.get_by_role("button", name="count 41")).to_have_count(2)
        with pytest.raises(AssertionError, match="ZeroDivisionError"):
            notebook.run_code("1 / 0")
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            kernel.evaluate("1 / 0")
