"""A real JupyterLab for tests, and what a test says to it.

`JupyterServer` is the process; `Notebook` is one notebook open in one page of a browser.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import nbformat
from jupyter_client import BlockingKernelClient
from playwright.sync_api import Page

import fswidget

from . import lab_settings

CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def wait_until(condition: Callable[[], Any], what: str, timeout: float = 120) -> Any:
    """Ask until the answer is true, and return it; more seldom the longer it takes, since asking
    keeps the browser from what is waited for."""
    begin = time.monotonic()
    while True:
        answer = condition()
        if answer:
            return answer
        waited = time.monotonic() - begin
        if waited > timeout:
            raise TimeoutError(f"waited {timeout:g} s for {what}; last answer {answer!r}")
        time.sleep(min(max(waited / 10, 0.05), 0.3))


class JupyterServer:
    """JupyterLab or Notebook 7 with folders of its own, from start to end of a ``with`` block."""

    def __init__(self, folder: Path, app: str = "lab") -> None:
        self.folder = folder
        self.work = folder / "work"
        self.runtime = folder / "runtime"
        self.data = folder / "data"
        self.app = app
        self.token = secrets.token_hex(16)
        self.url = ""

    def __enter__(self) -> JupyterServer:
        for path in (self.work, self.runtime):
            path.mkdir(parents=True)
        settings, config = self.folder / "settings", self.folder / "config"
        lab_settings.write(settings, config)
        environment = {
            **os.environ,
            # The kernelspec named python3 runs `python`: the environment's own must come first.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            # Kernels import the package that is tested, wherever the environment's own one lies.
            "PYTHONPATH": str(Path(fswidget.__file__).parents[1]),
            "JUPYTER_CONFIG_DIR": str(config),
            "JUPYTER_DATA_DIR": str(self.data),
            "JUPYTER_RUNTIME_DIR": str(self.runtime),
            "IPYTHONDIR": str(self.folder / "ipython"),
            "JUPYTERLAB_SETTINGS_DIR": str(settings),
            "JUPYTERLAB_WORKSPACES_DIR": str(self.folder / "workspaces"),
        }
        app_class = {"lab": "LabApp", "notebook": "JupyterNotebookApp"}[self.app]
        command = [
            *(sys.executable, "-m", "jupyter", self.app),
            "--no-browser",
            "--allow-root",
            "--ServerApp.ip=127.0.0.1",
            "--ServerApp.port=0",
            f"--ServerApp.root_dir={self.work}",
            f"--IdentityProvider.token={self.token}",
            # What a kernel has loaded, it need not take apart.
            "--KernelManager.shutdown_wait_time=0.2",
            "--LabApp.news_url=None",
            "--LabApp.extension_manager=readonly",
            "--LanguageServerManager.autodetect=False",
            f"--{app_class}.expose_app_in_browser=True",
        ]
        self.log = (self.folder / "server.log").open("wb")
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            self.url = wait_until(self._url, "Jupyter to start", 120)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A first SIGTERM lets the server end its kernels; they share its process group.
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()

    def _url(self) -> str:
        if self.process.poll() is not None:
            raise RuntimeError(
                f"Jupyter ended:\n{(self.folder / 'server.log').read_text()[-3000:]}"
            )
        for path in self.runtime.glob("jpserver-*.json"):
            try:
                url = str(json.loads(path.read_text())["url"])
                self.request("api/status", base=url)
                return url
            except (ValueError, KeyError, urllib.error.URLError, ConnectionError):
                continue
        return ""

    def request(self, path: str, base: str = "", method: str = "GET") -> Any:
        """What the server's own interface answers."""
        request = urllib.request.Request(
            f"{base or self.url}{path}",
            headers={"Authorization": f"token {self.token}"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")

    def end(self, name: str) -> None:
        """End the kernel of a notebook: what it still trains would slow down every later test."""
        for session in self.request("api/sessions"):
            if session["path"] == name:
                self.request(f"api/sessions/{session['id']}", method="DELETE")

    def write(self, name: str, cells: Sequence[str] | Path) -> str:
        """Put a notebook, or one with these code cells, where the server finds it."""
        if isinstance(cells, Path):
            shutil.copy(cells, self.work / name)
        else:
            notebook = nbformat.v4.new_notebook(
                cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
                metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
            )
            nbformat.write(notebook, self.work / name)
        return name

    def kernel(self, name: str) -> Kernel:
        """The kernel that runs the notebook `name`."""
        return Kernel(self.runtime / f"kernel-{self.kernel_id(name)}.json")

    def restart_kernel(self, name: str) -> None:
        """Replace the kernel that runs the notebook `name` by a new one."""
        self.request(f"api/kernels/{self.kernel_id(name)}/restart", method="POST")

    def kernel_id(self, name: str) -> str:
        """What the server calls the kernel that runs the notebook `name`."""

        def session() -> Any:
            found = [s for s in self.request("api/sessions") if s["path"] == name and s["kernel"]]
            return found and found[0]["kernel"]["id"]

        return str(wait_until(session, f"a kernel for {name}"))


class Kernel:
    """A second line to a notebook's kernel, past the browser."""

    def __init__(self, connection: Path) -> None:
        wait_until(connection.is_file, "the kernel's connection file")
        self.client = BlockingKernelClient(connection_file=str(connection))
        self.client.load_connection_file()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=120)

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.stop_channels()

    def evaluate(self, expression: str, timeout: float = 120) -> Any:
        """The value of a Python expression that is JSON."""
        answer = self.client.execute_interactive(
            "",
            silent=True,
            store_history=False,
            user_expressions={"it": f"__import__('json').dumps({expression})"},
            timeout=timeout,
        )["content"]["user_expressions"]["it"]
        if answer["status"] != "ok":
            raise RuntimeError(f"{expression}: {answer['ename']}: {answer['evalue']}")
        # The kernel answers with the representation of a string that holds JSON.
        return json.loads(eval(answer["data"]["text/plain"], {"__builtins__": {}}))

    def wait(self, expression: str, timeout: float = 120) -> Any:
        """Ask until the expression is true."""
        return wait_until(lambda: self.evaluate(expression), f"{expression} in the kernel", timeout)


class Notebook:
    """One notebook open in one page."""

    def __init__(
        self, page: Page, server: JupyterServer, name: str, *, opened: bool = True
    ) -> None:
        self.page = page
        self.server = server
        self.name = name
        self._sidebar = True
        if opened:
            self.enter()

    def enter(self) -> None:
        """Open the notebook, in the JupyterLab that the page shows if it shows one: to load that
        anew takes longer than most tests."""
        if self.server.app == "lab" and self.page.url.startswith(self.server.url):
            self.command("docmanager:open", path=self.name)
            self.wait_until_ready()
        else:
            self.open()

    def leave(self) -> None:
        """Close what is open as it is, without a question, and end the notebook's kernel."""
        self.page.evaluate(
            """async () => {
                for (const widget of [...window.jupyterapp.shell.widgets("main")]) widget.dispose();
                // What that cancels is reported before the next notebook is there.
                await new Promise(done => setTimeout(done));
            }"""
        )
        self.server.end(self.name)

    def open(self) -> None:
        """Go to the notebook, or load it anew, and wait until its kernel answers."""
        self.go()
        self.wait_until_ready()
        self.sidebar(self._sidebar)

    def go(self) -> None:
        """Go to the notebook, or load it anew."""
        # Each notebook has a workspace: the default one would bring back what other tests opened.
        workspace = f"lab/workspaces/{Path(self.name).stem}/tree"
        root = workspace if self.server.app == "lab" else "notebooks"
        self.page.goto(
            f"{self.server.url}{root}/{self.name}?token={self.server.token}",
            wait_until="domcontentloaded",
        )

    def wait_until_ready(self) -> None:
        """Wait until the notebook is there, its kernel idle, and the page done with opening what
        its address names, which it would open again were it closed before."""
        self.page.locator(".jp-Notebook .jp-Cell:visible").first.wait_for(timeout=120_000)
        self.page.wait_for_function(
            """name => {
                const panel = window.jupyterapp?.shell.currentWidget;
                const kernel = panel?.sessionContext?.session?.kernel;
                return !document.querySelector('.jp-mod-restoring')
                    && panel?.context?.path === name
                    && kernel?.connectionStatus === 'connected' && kernel.status === 'idle';
            }""",
            arg=self.name,
            polling=100,
            timeout=120_000,
        )

    def command(self, name: str, **arguments: Any) -> Any:
        """Run a command of the front end and wait for it."""
        return self.page.evaluate(
            "async ([name, args]) => { await window.jupyterapp.commands.execute(name, args); }",
            [name, arguments],
        )

    def keep_widget_state(self) -> None:
        """Have the notebook save its widgets' state: the menu's item, which another test of the
        same JupyterLab may have ticked already."""
        name = "@jupyter-widgets/jupyterlab-manager:saveWidgetState"
        ticked = "(name) => window.jupyterapp.commands.isToggled(name)"
        if not self.page.evaluate(ticked, name):
            self.command(name)
            self.page.wait_for_function(ticked, arg=name)

    def run_all(self) -> None:
        """Run all cells and wait for the last; a cell that raises fails the test."""
        self.command("notebook:run-all-cells")
        self.check()

    def step(self) -> None:
        """Shift+Enter: run the cell that is selected, wait for its end, and be at the next one."""
        self.command("notebook:run-cell-and-select-next")
        self.check()

    def check(self) -> None:
        """Fail the test if a cell raised."""
        errors = self.errors()
        assert not errors, errors

    def errors(self) -> list[str]:
        """The exceptions that cells ended with."""
        outputs = self._outputs("error")
        return [f"{output['ename']}: {output['evalue']}" for output in outputs]

    def printed(self, stream: str) -> list[str]:
        """What cells wrote to ``stdout`` or ``stderr``."""
        outputs = self._outputs("stream")
        return [str(output["text"]) for output in outputs if output["name"] == stream]

    def _outputs(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.page.evaluate(
            """kind => [...window.jupyterapp.shell.currentWidget.content.model.cells]
                .flatMap(cell => cell.toJSON().outputs ?? [])
                .filter(output => output.output_type === kind)""",
            kind,
        )
        return found

    def run_code(self, code: str) -> None:
        """Add a cell at the end and run it."""
        self.page.evaluate(
            """async code => {
                const { commands, shell } = window.jupyterapp;
                const notebook = shell.currentWidget.content;
                notebook.activeCellIndex = notebook.widgets.length - 1;
                await commands.execute('notebook:insert-cell-below');
                notebook.activeCell.model.sharedModel.setSource(code);
                await commands.execute('notebook:run-cell');
            }""",
            code,
        )
        self.check()

    def save(self) -> None:
        """Save the notebook to its file."""
        self.command("docmanager:save")

    def save_with_widgets(self) -> None:
        """Save until the file holds the widgets' state, which comes a moment after the menu's item
        was ticked."""
        name = self.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.path")

        def saved() -> bool:
            self.save()
            return "widgets" in json.loads((self.server.work / name).read_text())["metadata"]

        self.keep_widget_state()
        wait_until(saved, "the notebook to hold the widgets' state")

    def theme(self, dark: bool) -> None:
        """Choose JupyterLab's light or dark theme and wait until it is on."""
        name = "JupyterLab Dark" if dark else "JupyterLab Light"
        self.command("apputils:change-theme", theme=name)
        body = self.page.locator(f"body[data-jp-theme-light='{str(not dark).lower()}']")
        body.wait_for(state="attached")

    def sidebar(self, shown: bool) -> None:
        """Show or hide the file browser, which takes a fifth of the page."""
        self._sidebar = shown
        if self.server.app == "lab" and shown != self.page.locator("#jp-left-stack").is_visible():
            self.command("application:toggle-left-area")
