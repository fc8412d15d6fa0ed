"""Drives libpurple's SIMPLE protocol without a window: one JSON object a line.

Commands on standard input:
  {"cmd": "register", "account": "alice@example.com", "password": "...", "proxy": "127.0.0.1", "port": 5060,
   "transport": "udp" | "tcp", "local": 6060, "buddies": ["sip:bob@example.com"]}
  {"cmd": "send", "to": "sip:bob@example.com", "text": "..."}
  {"cmd": "status", "message": "..."}   publishes open again; the protocol has no other state
  {"cmd": "unregister"}                 publishes closed, and unregisters
  {"cmd": "quit"}

Events on standard output, among the library's own lines:
  {"event": "ready"}
  {"event": "connection", "state": "on" | "off" | "error", "reason": "..."}
  {"event": "answer", "method": "PUBLISH", "code": 200}            an answer the library received
  {"event": "message", "from": "sip:...", "text": "..."}
  {"event": "buddy", "uri": "sip:...", "online": true, "status": "available", "message": "..."}

The only argument is a folder for its files. Standard library only.
"""

import ctypes
import json
import os
import re
import sys
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_uint, c_void_p

# The library looks for SRV records of the server's address before it connects.
os.environ["RES_OPTIONS"] = "timeout:1 attempts:1"
purple = ctypes.CDLL("libpurple.so.0", mode=ctypes.RTLD_GLOBAL)  # its plugins look for its symbols
glib = ctypes.CDLL("libglib-2.0.so.0")


class Pointer(int):
    """A pointer that the library returned, so that it is not taken for an int."""


def call(name, result, *args):
    """Calls a function of the library; strings go as UTF-8, ints as ints, pointers as pointers."""
    f = getattr(purple, name)
    f.restype = result
    f.argtypes = [c_char_p if isinstance(a, bytes) else c_void_p if isinstance(a, Pointer) or not isinstance(a, int) else c_int for a in args]
    return f(*args)


def pointer(name, *args):
    return Pointer(call(name, c_void_p, *args) or 0)


def string(name, *args):
    value = call(name, c_char_p, *args)
    return value.decode("utf-8", "replace") if value else ""


def text(value):
    return (value or b"").decode("utf-8", "replace")


def emit(**event):
    sys.stdout.write(json.dumps(event, ensure_ascii=True) + "\n")
    sys.stdout.flush()


INPUT = CFUNCTYPE(None, c_void_p, c_int, c_int)
WATCH = CFUNCTYPE(c_int, c_int, c_int, c_void_p)
SIGNAL = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p)
FUNCTION = CFUNCTYPE(c_void_p)

IN, OUT, ERR, HUP, NVAL = 1, 4, 8, 16, 32  # GIOCondition on Linux
READ, WRITE = 1, 2  # PurpleInputCondition


class EventLoop(Structure):
    _fields_ = [
        ("timeout_add", c_void_p), ("timeout_remove", c_void_p),
        ("input_add", CFUNCTYPE(c_uint, c_int, c_int, INPUT, c_void_p)),
        ("input_remove", CFUNCTYPE(c_int, c_uint)), ("input_get_error", c_void_p),
        ("timeout_add_seconds", c_void_p), ("reserved", c_void_p * 3)]


class Debug(Structure):
    _fields_ = [
        ("print", CFUNCTYPE(None, c_int, c_char_p, c_char_p)), ("is_enabled", CFUNCTYPE(c_int, c_int, c_char_p)),
        ("reserved", c_void_p * 4)]


def address(library, name):
    return ctypes.cast(getattr(library, name), c_void_p)


class Buddy:
    def __init__(self, home):
        self.watches, self.kept = {}, []
        glib.g_unix_fd_add_full.argtypes = [c_int, c_int, c_int, WATCH, c_void_p, c_void_p]
        glib.g_unix_fd_add_full.restype = c_uint
        glib.g_main_loop_new.restype = c_void_p
        glib.g_main_loop_run.argtypes = glib.g_main_loop_quit.argtypes = [c_void_p]

        events = EventLoop()
        events.timeout_add, events.timeout_remove = address(glib, "g_timeout_add"), address(glib, "g_source_remove")
        events.timeout_add_seconds = address(glib, "g_timeout_add_seconds")
        events.input_add = EventLoop._fields_[2][1](self.input_add)
        events.input_remove = EventLoop._fields_[3][1](self.input_remove)
        debug = Debug()
        debug.print = Debug._fields_[0][1](self.debug)
        debug.is_enabled = Debug._fields_[1][1](lambda level, category: 1)
        self.kept += [events, debug]  # the library holds their addresses only

        call("purple_util_set_user_dir", None, home.encode())
        call("purple_debug_set_ui_ops", None, Pointer(ctypes.addressof(debug)))
        call("purple_eventloop_set_ui_ops", None, Pointer(ctypes.addressof(events)))
        if not call("purple_core_init", c_int, b"rollcall-test"):
            sys.exit("libpurple did not start")
        call("purple_set_blist", None, pointer("purple_blist_new"))
        connections, blist = pointer("purple_connections_get_handle"), pointer("purple_blist_get_handle")
        self.signal(connections, "signed-on", lambda gc, *_: emit(event="connection", state="on"))
        self.signal(connections, "signed-off", lambda gc, *_: emit(event="connection", state="off"))
        self.signal(connections, "connection-error", lambda gc, code, reason, *_: emit(
            event="connection", state="error", reason=text(ctypes.cast(reason, c_char_p).value)))
        self.signal(pointer("purple_conversations_get_handle"), "received-im-msg", self.received)
        for change in ("signed-on", "signed-off", "status-changed"):
            self.signal(blist, "buddy-" + change, lambda buddy, *_: self.seen(buddy))
        self.account = None

    def signal(self, instance, name, function):
        def safe(*args):
            function(*args)
            return 0
        callback = SIGNAL(safe)
        self.kept.append(callback)
        call("purple_signal_connect", c_int, instance, name.encode(), instance, ctypes.cast(callback, c_void_p), Pointer(0))

    # The library's event loop, on glib's.

    def input_add(self, fd, condition, function, data):
        wanted = (IN | HUP | ERR if condition & READ else 0) | (OUT | HUP | ERR | NVAL if condition & WRITE else 0)
        pointer_to = Pointer(ctypes.cast(function, c_void_p).value)
        function = INPUT(pointer_to)

        def ready(fd, what, _):
            met = (READ if what & (IN | HUP | ERR) else 0) | (WRITE if what & (OUT | HUP | ERR | NVAL) else 0)
            function(data, fd, met & condition or met)
            return 1
        watch = WATCH(ready)
        handle = glib.g_unix_fd_add_full(0, fd, wanted, watch, None, None)
        # Kept for good: a handler may remove itself while it runs.
        self.watches[handle] = watch
        return handle

    def input_remove(self, handle):
        return glib.g_source_remove(handle)

    # What the library tells.

    received_header = re.compile(r"received - .*?######\s*SIP/2\.0 (\d+) .*?^CSeq: *\d+ +(\w+)", re.S | re.M | re.I)

    def debug(self, level, category, line):
        if category != b"simple":
            return
        line = text(line)
        print(line, flush=True)
        answer = self.received_header.search(line)
        if answer:
            emit(event="answer", method=answer[2], code=int(answer[1]))

    def received(self, account, sender, message, *_):
        emit(event="message", **{"from": text(ctypes.cast(sender, c_char_p).value)}, text=text(ctypes.cast(message, c_char_p).value))

    def seen(self, buddy):
        buddy = Pointer(buddy)
        presence = pointer("purple_buddy_get_presence", buddy)
        status = pointer("purple_presence_get_active_status", presence)
        emit(
            event="buddy", uri=string("purple_buddy_get_name", buddy), online=bool(call("purple_presence_is_online", c_int, presence)),
            status=string("purple_status_get_id", status), message=string("purple_status_get_attr_string", status, b"message"))

    # Commands.

    def register(self, c):
        if c.get("local"):
            call("purple_prefs_set_bool", None, b"/purple/network/ports_range_use", 1)
            for end in ("start", "end"):
                call("purple_prefs_set_int", None, b"/purple/network/ports_range_" + end.encode(), c["local"])
        account = self.account = pointer("purple_account_new", c["account"].encode(), b"prpl-simple")
        call("purple_account_set_password", None, account, c["password"].encode())
        call("purple_account_set_bool", None, account, b"udp", int(c["transport"] == "udp"))
        call("purple_account_set_bool", None, account, b"useproxy", 1)
        call("purple_account_set_string", None, account, b"proxy", c["proxy"].encode())
        call("purple_account_set_int", None, account, b"port", c["port"])
        call("purple_accounts_add", None, account)
        for uri in c.get("buddies", []):
            buddy = pointer("purple_buddy_new", account, uri.encode(), Pointer(0))
            call("purple_blist_add_buddy", None, buddy, Pointer(0), Pointer(0), Pointer(0))
        call("purple_account_set_enabled", None, account, b"rollcall-test", 1)
        status = pointer("purple_savedstatus_new", Pointer(0), 2)  # PURPLE_STATUS_AVAILABLE
        call("purple_savedstatus_activate", None, status)

    def send(self, c):
        call("serv_send_im", c_int, pointer("purple_account_get_connection", self.account), c["to"].encode(), c["text"].encode(), 1)

    def status(self, c):
        status = pointer("purple_savedstatus_new", Pointer(0), 2)
        call("purple_savedstatus_set_message", None, status, c.get("message", "").encode())
        call("purple_savedstatus_activate", None, status)

    def unregister(self, _):
        call("purple_account_disconnect", None, self.account)

    def quit(self, _):
        glib.g_main_loop_quit(self.loop)

    def run(self):
        buffer = b""

        def ready(fd, what, _):
            nonlocal buffer
            data = os.read(0, 1 << 16)
            if not data:
                self.quit(None)
                return 0
            buffer += data
            while b"\n" in buffer:
                line, buffer = buffer.split(b"\n", 1)
                command = json.loads(line)
                getattr(self, command["cmd"])(command)
            return 1
        self.loop = glib.g_main_loop_new(None, 0)
        watch = WATCH(ready)
        glib.g_unix_fd_add_full(0, 0, IN | HUP, watch, None, None)
        emit(event="ready")
        glib.g_main_loop_run(self.loop)
        call("purple_core_quit", None)


if __name__ == "__main__":
    Buddy(sys.argv[1]).run()
