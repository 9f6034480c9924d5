# What Maija keeps as ~/.jupyter/jupyter_server_config.py: Python of hers in her server's own process.
# From then on her server answers with what she likes, to whoever gets there.
import tornado.web

_find = tornado.web.Application.find_handler


class Hostile(tornado.web.RequestHandler):
    """``…/x/page`` is an empty page, ``…/x/worker.js`` a script; ``?Name=value`` are headers."""

    async def get(self):
        for name in self.request.query_arguments:
            for value in self.get_query_arguments(name):
                self.add_header(name, value)
        if self.request.path.endswith(".js"):
            self.set_header("Content-Type", "text/javascript")
            self.finish("self.addEventListener('fetch', () => {})")
        else:
            self.finish("<title>hostile</title><button>Click</button>")


def find_handler(self, request, **rest):
    if "/x/" in request.path:
        return self.get_handler_delegate(request, Hostile)
    return _find(self, request, **rest)


tornado.web.Application.find_handler = find_handler
