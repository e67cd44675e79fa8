# SPDX-License-Identifier: Apache-2.0
"""A gateway of a few lines, for trying the page without Weir: / to the page, /api/ to the API, /call/search/ to search."""

import contextlib
import http.client
import http.server
import threading


class Front:
    """Listens on a free port of the loopback; `down` names the services that cannot be reached."""

    def __init__(self, services):
        self.services = services
        self.down = set()
        front = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self):
                front.forward(self)

            do_GET = do_POST = do_HEAD = forward

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def forward(self, request):
        path = request.path
        if path.startswith("/call/search/"):
            name, path = "search", path[len("/call/search"):]
        else:
            name = "api" if path.startswith("/api/") else "web"
        body = request.rfile.read(int(request.headers.get("content-length") or 0))
        try:
            if name in self.down:
                raise ConnectionError(name)
            connection = http.client.HTTPConnection("127.0.0.1", self.services[name], timeout=10)
            headers = {k: v for k, v in request.headers.items() if k.lower() not in ("host", "connection")}
            connection.request(request.command, path, body=body or None, headers=headers)
            answer = connection.getresponse()
            status, fields, content = answer.status, answer.getheaders(), answer.read()
            connection.close()
        except OSError:
            status, content = 502, b'{"title":"Bad Gateway","status":502}'
            fields = [("content-type", "application/problem+json")]
        request.send_response_only(status)
        for name, value in fields:
            if name.lower() not in ("connection", "content-length", "transfer-encoding", "keep-alive"):
                request.send_header(name, value)
        if request.command == "HEAD" or status == 304:
            content = b""
        if status != 304:
            request.send_header("content-length", str(len(content)))
        with contextlib.suppress(ConnectionError):  # The browser may have gone on to another page.
            request.end_headers()
            request.wfile.write(content)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
