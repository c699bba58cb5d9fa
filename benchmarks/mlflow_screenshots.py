"""Drive the real MLflow UI in headless Chromium, and take the pictures of docs/images: a table, parallel coordinates,
models compared.

Needs the programs `chromium` and `chromedriver`, and a project with a comparison in its mlflow.db:

    kedro run --pipeline compare
    python benchmarks/mlflow_screenshots.py --out docs/images

It starts `mlflow ui` on loopback, and talks to chromedriver by its HTTP protocol (WebDriver), so it needs no package.
"""

import argparse
import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SIZE = (1500, 900)


class Browser:
    """A page of Chromium, driven through chromedriver."""

    def __init__(self, address: str) -> None:
        options = {
            "args": [
                *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                f"--window-size={SIZE[0]},{SIZE[1]}",
            ]
        }
        self._address = address
        wanted = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}}
        self._session = self._send("POST", "/session", wanted)["sessionId"]

    def go(self, url: str) -> None:
        self._send(
            "POST", f"/session/{self._session}/url", {"url": "about:blank"}
        )  # another # alone loads nothing
        self._send("POST", f"/session/{self._session}/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        return self._send(
            "POST", f"/session/{self._session}/execute/sync", {"script": script, "args": list(arguments)}
        )

    def wait_for(self, condition: str, *arguments: Any, timeout_s: float = 60) -> None:
        """Until a JavaScript expression is true."""
        deadline = time.monotonic() + timeout_s
        while not self.run(f"return Boolean({condition})", *arguments):
            if time.monotonic() > deadline:
                text = self.run("return document.body.innerText")
                raise TimeoutError(f"{condition} did not come true; the page says:\n{text[:2000]}")
            time.sleep(0.3)

    def wait_for_text(self, text: str) -> None:
        self.wait_for("document.body.innerText.includes(arguments[0])", text)

    def picture(self, path: Path) -> None:
        time.sleep(1.5)  # what is drawn with a transition
        path.write_bytes(base64.b64decode(self._send("GET", f"/session/{self._session}/screenshot")))
        print(path)

    def close(self) -> None:
        self._send("DELETE", f"/session/{self._session}")

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._address}{path}", data=data, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read())["value"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def serving(command: list[str], address: str, *, cwd: Path) -> Iterator[None]:
    """A server for as long as it is needed."""
    environment = os.environ | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    process = subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(address, timeout=2).close()
                break
            except OSError:
                time.sleep(0.3)
        else:
            raise TimeoutError(f"{command[0]} does not answer at {address}")
        yield
    finally:
        process.terminate()
        process.wait(20)


def find_comparison(database: Path, experiment: str) -> tuple[str, str, list[str]]:
    """The experiment, the newest finished comparison in it, and its models' runs."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{database}")
    found = client.get_experiment_by_name(experiment)
    if found is None:
        raise SystemExit(f"{database} has no experiment {experiment!r}")
    parents = client.search_runs(
        [found.experiment_id], "tags.program = 'compare' and attributes.status = 'FINISHED'"
    )
    parents = [run for run in parents if "mlflow.parentRunId" not in run.data.tags]
    if not parents:
        raise SystemExit(f"{database} has no finished comparison: kedro run --pipeline compare")
    parent = parents[0].info.run_id
    below = client.search_runs([found.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
    return found.experiment_id, parent, [run.info.run_id for run in below]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--project", type=Path, default=Path(), help="holds mlflow.db and mlartifacts")
    parser.add_argument("--experiment", default="regraft")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    project = arguments.project.resolve()
    experiment, parent, models = find_comparison(project / "mlflow.db", arguments.experiment)
    arguments.out.mkdir(parents=True, exist_ok=True)
    ports = free_port(), free_port()
    ui, driver = (f"http://127.0.0.1:{port}" for port in ports)
    store = ["--backend-store-uri", "sqlite:///mlflow.db", "--default-artifact-root", "mlartifacts"]
    mlflow = [
        sys.executable,
        "-m",
        "mlflow",
        "ui",
        "--host",
        "127.0.0.1",
        "--port",
        str(ports[0]),
        "--workers",
        "1",
    ]
    with (
        serving([*mlflow, *store], f"{ui}/health", cwd=project),
        serving(["chromedriver", f"--port={ports[1]}"], f"{driver}/status", cwd=project),
    ):
        browser = Browser(driver)
        try:
            take_pictures(browser, ui, experiment, parent, models, arguments.out)
        finally:
            browser.close()


COLUMNS = ("val/log_loss", "test/accuracy", "test/log_loss", "minutes", "images_per_second", "num_parameters")
UNWANTED = ("Dataset", "Source", "Models")
AXES = ("num_parameters", "images_per_second", "minutes", "val/log_loss", "test/accuracy")


def take_pictures(
    browser: Browser, ui: str, experiment: str, parent: str, models: list[str], out: Path
) -> None:
    browser.go(ui)
    browser.run(
        "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');"
        "localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false')"
    )
    sorted_by = urllib.parse.urlencode(
        {
            "searchFilter": f"tags.`mlflow.parentRunId` = '{parent}'",
            "orderByKey": "metrics.`test/accuracy`",
            "orderByAsc": "false",
            "compareRunsMode": "TABLE",
        }
    )
    browser.go(f"{ui}/#/experiments/{experiment}/runs?{sorted_by}")
    browser.wait_for(BUTTON, "Columns")
    browser.run(f"{BUTTON}.click()", "Columns")
    browser.wait_for(f"{TREE_NODE}", COLUMNS[0])
    for name in (*UNWANTED, *COLUMNS):
        browser.run(f"{TREE_NODE}.querySelector('[class*=tree-checkbox]').click()", name)
        time.sleep(0.3)
    browser.run(f"{BUTTON}.click()", "Columns")
    browser.picture(out / "mlflow-compare-table.png")

    runs = urllib.parse.urlencode({"runs": json.dumps(models), "experiments": json.dumps([experiment])})
    browser.go(f"{ui}/#/compare-runs?{runs}")
    browser.wait_for(BUTTON, "Clear All")
    time.sleep(1)
    browser.run(f"{BUTTON}.click()", "Clear All")
    choose(browser, 1, AXES)
    browser.picture(out / "mlflow-compare-parallel.png")
    browser.run(f"{HEADING}.scrollIntoView()", "Metrics")
    browser.picture(out / "mlflow-compare-metrics.png")


BUTTON = "[...document.querySelectorAll('button')].find(one => one.innerText.trim() == arguments[0])"
TREE_NODE = "[...document.querySelectorAll('[class$=tree-treenode], [class*=\"tree-treenode \"]')]" + (
    ".find(one => one.innerText.trim() == arguments[0])"
)
HEADING = "[...document.querySelectorAll('*')].filter(one => one.innerText?.trim() == arguments[0]).pop()"


def choose(browser: Browser, number: int, names: tuple[str, ...]) -> None:
    """Pick options of one of the page's lists, which draws only those in sight."""
    selector = f"document.querySelectorAll('[class*=select-selector]')[{number}]"
    browser.run(f"{selector}.dispatchEvent(new MouseEvent('mousedown', {{bubbles: true}}))")
    time.sleep(1)
    lists = "[...document.querySelectorAll('.rc-virtual-list-holder')].filter(one => one.offsetParent)"
    option = (
        "[...document.querySelectorAll('[class*=select-item-option-content]')]"
        ".find(one => one.offsetParent && one.innerText.trim() == arguments[0])"
    )
    for name in names:
        browser.run(f"{lists}.forEach(one => one.scrollTop = 0)")
        for step in range(200):
            time.sleep(0.15)
            if browser.run(f"const one = {option}; if (one) one.click(); return Boolean(one)", name):
                break
            browser.run(f"{lists}.forEach(one => one.scrollTop = {150 * step})")
        else:
            raise TimeoutError(f"the page has no option {name!r}")
    browser.run(f"{selector}.dispatchEvent(new MouseEvent('mousedown', {{bubbles: true}}))")
    browser.run("document.activeElement.blur()")


if __name__ == "__main__":
    main()
