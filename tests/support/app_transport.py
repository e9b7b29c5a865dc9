"""Let the SDK talk to an app in process: what it sends goes through starlette's test client, lifespan included."""

import httpx
from starlette.testclient import TestClient


class AppTransport(httpx.BaseTransport):
    """A transport for `rlt_client.Client(transport=…)`; the test client's own httpx is another one than the SDK's."""

    def __init__(self, app: TestClient) -> None:
        self._app = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._app.request(
            request.method,
            request.url.raw_path.decode("ascii"),
            content=request.read(),
            headers=[(name, value) for name, value in request.headers.multi_items() if name != "host"],
        )
        headers = [(name, value) for name, value in answer.headers.multi_items() if name != "content-encoding"]
        return httpx.Response(answer.status_code, headers=headers, content=answer.content)
