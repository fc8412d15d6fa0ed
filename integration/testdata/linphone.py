"""Drives liblinphone without a window or a sound card: one JSON object a line.

Commands on standard input:
  {"cmd": "register", "identity": "sip:alice@example.com", "server": "sip:127.0.0.1:5060;transport=udp",
   "user": "alice", "password": "...", "expires": 300, "publish": true}
  {"cmd": "send", "id": 1, "to": "sip:bob@example.com", "text": "..."}
  {"cmd": "publish", "basic": "open" | "closed", "activity": "busy", "note": "..."}   activity and note may be left out
  {"cmd": "watch", "uris": ["sip:bob@example.com"], "list": "sip:..."}   list, if given, is where one SUBSCRIBE for all goes
  {"cmd": "unregister"}
  {"cmd": "quit"}

Events on standard output:
  {"event": "ready"}
  {"event": "registration", "state": "ok" | "failed" | "cleared" | "progress", "reason": "..."}
  {"event": "message", "from": "sip:...", "text": "...", "type": "text/plain", "call_id": "..."}
  {"event": "sent", "id": 1, "state": "delivered" | "failed" | ...}
  {"event": "publish", "state": "progress" | "ok" | "error" | "expiring" | "cleared"}
  {"event": "presence", "uri": "sip:bob@example.com", "basic": "open", "activities": ["busy"], "note": "..."}

The only argument is a folder for its files. Standard library only.
"""

import ctypes
import glob
import json
import os
import select
import sys
import time
from ctypes import CFUNCTYPE, c_bool, c_char_p, c_int, c_void_p

REGISTRATION = {0: "none", 1: "progress", 2: "ok", 3: "cleared", 4: "failed", 5: "refreshing"}
PUBLISH = {0: "none", 1: "progress", 2: "ok", 3: "error", 4: "expiring", 5: "cleared"}
BASIC = ("open", "closed")
# RFC 4480 §3.2, in the library's order.
ACTIVITIES = (
    "appointment away breakfast busy dinner holiday in-transit looking-for-work lunch meal meeting on-the-phone other performance "
    "permanent-absence playing presentation shopping sleeping spectator steering travel tv unknown vacation working worship"
).split()
MESSAGE = {0: "idle", 1: "progress", 2: "delivered", 3: "failed", 4: "failed", 5: "delivered", 6: "delivered", 7: "delivered"}


def load():
    found = sorted(glob.glob("/usr/lib/*/liblinphone.so.*") + glob.glob("/usr/lib/liblinphone.so.*"))
    if not found:
        sys.exit("no liblinphone.so in /usr/lib: install Debian's liblinphone10 or later")
    return ctypes.CDLL(found[-1])


lib = load()


def call(name, result, *args):
    """Calls a function of the library; strings go as UTF-8, ints as ints, everything else as a pointer."""
    f = getattr(lib, name)
    f.restype = result
    f.argtypes = [c_char_p if isinstance(a, bytes) else c_int if isinstance(a, (int, bool)) and not isinstance(a, Pointer) else c_void_p for a in args]
    return f(*args)


class Pointer(int):
    """A pointer that the library returned, so that it is not taken for an int."""


def pointer(name, *args):
    return Pointer(call(name, c_void_p, *args) or 0)


def string(name, *args):
    value = call(name, c_char_p, *args)
    return value.decode("utf-8", "replace") if value else ""


def emit(**event):
    sys.stdout.write(json.dumps(event, ensure_ascii=True) + "\n")
    sys.stdout.flush()


class Phone:
    def __init__(self, home):
        self.pending = {}
        config = os.path.join(home, "linphonerc")
        with open(config, "w", encoding="utf-8") as f:
            f.write(
                "[sip]\nsip_port=-1\nsip_tcp_port=-1\nsip_tls_port=-1\nguess_hostname=1\nverify_server_certs=0\n"
                "[storage]\nbackend=sqlite3\nuri=%s\n[misc]\nuuid=\n[sound]\nplayback_gain_db=0\n" % os.path.join(home, "linphone.db")
            )
        factory = pointer("linphone_factory_get")
        self.factory = factory
        call("linphone_logging_service_set_log_level", None, pointer("linphone_logging_service_get"), 16)
        for kind in ("config", "data", "download", "cache"):
            try:
                call("linphone_factory_set_%s_dir" % kind, None, factory, home.encode())
            except AttributeError:
                pass
        self.core = pointer("linphone_factory_create_core_3", factory, config.encode(), Pointer(0), Pointer(0))
        if not self.core:
            sys.exit("linphone core was not made")
        for media in ("video_capture", "video_display"):
            call("linphone_core_enable_" + media, None, self.core, 0)
        # As the programs made with the library say it; servers tell its habits by this.
        call("linphone_core_set_user_agent", None, self.core, b"Linphone", string("linphone_core_get_version").encode())
        cbs = pointer("linphone_factory_create_core_cbs", factory)
        # The callbacks are kept: the library holds their addresses only.
        self.on_message = CFUNCTYPE(None, c_void_p, c_void_p, c_void_p)(self.message)
        self.on_registration = CFUNCTYPE(None, c_void_p, c_void_p, c_int, c_char_p)(self.registration)
        self.on_publish = CFUNCTYPE(None, c_void_p, c_void_p, c_int)(self.published)
        self.on_presence = CFUNCTYPE(None, c_void_p, c_void_p)(self.presence)
        for name, callback in (
            ("message_received", self.on_message),
            ("account_registration_state_changed", self.on_registration),
            ("publish_state_changed", self.on_publish),
            ("notify_presence_received", self.on_presence),
        ):
            set_cb = getattr(lib, "linphone_core_cbs_set_" + name)
            set_cb.argtypes, set_cb.restype = [c_void_p, c_void_p], None
            set_cb(cbs, ctypes.cast(callback, c_void_p))
        call("linphone_core_add_callbacks", None, self.core, cbs)
        if call("linphone_core_start", c_int, self.core) != 0:
            sys.exit("linphone core did not start")
        self.account = None

    def address(self, uri):
        a = pointer("linphone_factory_create_address", self.factory, uri.encode())
        if not a:
            raise ValueError("bad address " + uri)
        return a

    def register(self, c):
        info = pointer(
            "linphone_factory_create_auth_info", self.factory, c["user"].encode(), c["user"].encode(), c["password"].encode(),
            Pointer(0), Pointer(0), c["identity"].split("@", 1)[1].encode())
        call("linphone_core_add_auth_info", None, self.core, info)
        params = pointer("linphone_core_create_account_params", self.core)
        call("linphone_account_params_set_identity_address", c_int, params, self.address(c["identity"]))
        call("linphone_account_params_set_server_address", c_int, params, self.address(c["server"]))
        call("linphone_account_params_enable_outbound_proxy", None, params, 1)
        call("linphone_account_params_set_expires", None, params, int(c.get("expires", 300)))
        call("linphone_account_params_enable_register", None, params, 1)
        call("linphone_account_params_set_publish_enabled", None, params, int(bool(c.get("publish"))))
        self.account = pointer("linphone_core_create_account", self.core, params)
        call("linphone_core_add_account", c_int, self.core, self.account)
        call("linphone_core_set_default_account", None, self.core, self.account)

    def unregister(self, _):
        params = pointer("linphone_account_params_clone", pointer("linphone_account_get_params", self.account))
        call("linphone_account_params_enable_register", None, params, 0)
        call("linphone_account_set_params", c_int, self.account, params)

    def send(self, c):
        room = pointer("linphone_core_get_chat_room", self.core, self.address(c["to"]))
        message = pointer("linphone_chat_room_create_message_from_utf8", room, c["text"].encode("utf-8"))
        call("linphone_chat_message_send", None, message)
        self.pending[c["id"]] = (message, None)

    def publish(self, c):
        model = pointer("linphone_core_create_presence_model", self.core)
        call("linphone_presence_model_set_basic_status", c_int, model, BASIC.index(c["basic"]))
        if c.get("activity"):
            call("linphone_presence_model_set_activity", c_int, model, ACTIVITIES.index(c["activity"]), Pointer(0))
        if c.get("note"):
            call("linphone_presence_model_add_note", c_int, model, c["note"].encode("utf-8"), Pointer(0))
        call("linphone_core_set_presence_model", None, self.core, model)

    def watch(self, c):
        friends = pointer("linphone_core_get_default_friend_list", self.core)
        rls = c.get("list")
        if rls:
            call("linphone_friend_list_set_rls_uri", None, friends, rls.encode())
        call("linphone_core_enable_friend_list_subscription", None, self.core, int(bool(rls)))
        for uri in c["uris"]:
            friend = pointer("linphone_core_create_friend_with_address", self.core, uri.encode())
            call("linphone_friend_enable_subscribes", c_int, friend, 1)
            call("linphone_friend_list_add_friend", c_int, friends, friend)
        call("linphone_friend_list_enable_subscriptions", None, friends, 1)
        call("linphone_friend_list_update_subscriptions", None, friends)

    def watch_sent(self):
        for ident, (message, last) in list(self.pending.items()):
            state = call("linphone_chat_message_get_state", c_int, message)
            if state != last:
                name = MESSAGE.get(state, str(state))
                emit(event="sent", id=ident, state=name)
                self.pending[ident] = (message, state)
                if name in ("delivered", "failed"):
                    del self.pending[ident]

    def message(self, _core, _room, message):
        message = Pointer(message)
        sender = pointer("linphone_chat_message_get_from_address", message)
        emit(
            event="message",
            **{"from": string("linphone_address_as_string_uri_only", sender)},
            text=string("linphone_chat_message_get_utf8_text", message),
            type=string("linphone_chat_message_get_content_type", message),
            call_id=string("linphone_chat_message_get_call_id", message),
        )

    def registration(self, _core, _account, state, reason):
        emit(event="registration", state=REGISTRATION.get(state, str(state)), reason=(reason or b"").decode("utf-8", "replace"))

    def published(self, _core, _event, state):
        emit(event="publish", state=PUBLISH.get(state, str(state)))

    def presence(self, _core, friend):
        friend = Pointer(friend)
        model = pointer("linphone_friend_get_presence_model", friend)
        note, activities, basic = Pointer(0), [], "closed"
        if model:
            basic = BASIC[call("linphone_presence_model_get_basic_status", c_int, model)]
            for i in range(call("linphone_presence_model_get_nb_activities", c_int, model)):
                kind = call("linphone_presence_activity_get_type", c_int, pointer("linphone_presence_model_get_nth_activity", model, i))
                activities.append(ACTIVITIES[kind])
            note = pointer("linphone_presence_model_get_note", model, Pointer(0))
        emit(
            event="presence",
            uri=string("linphone_address_as_string_uri_only", pointer("linphone_friend_get_address", friend)),
            basic=basic,
            activities=activities,
            note=string("linphone_presence_note_get_content", note) if note else "",
        )

    def run(self):
        emit(event="ready")
        buffer, open_ = b"", True
        while open_:
            call("linphone_core_iterate", None, self.core)
            self.watch_sent()
            if select.select([0], [], [], 0.02)[0]:
                data = os.read(0, 1 << 16)
                if not data:
                    break
                buffer += data
                while b"\n" in buffer:
                    line, buffer = buffer.split(b"\n", 1)
                    command = json.loads(line)
                    if command["cmd"] == "quit":
                        open_ = False
                        break
                    getattr(self, command["cmd"])(command)
        call("linphone_core_stop", None, self.core)


if __name__ == "__main__":
    Phone(sys.argv[1]).run()
