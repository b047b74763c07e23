"""What workers tell each other, and what comes of it: without processes."""

from __future__ import annotations

import os
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.config import ModelConfig, VersionPolicy
from serving.errors import ConfigError, PortInUse, StartError
from serving.server.flags import Flags, cores, processes, share_of
from serving.server.metrics import Metrics
from serving.server.status import Code, ServingError
from serving.server.workers import failure, totals
from serving.server.workers.channel import Channel, ChannelError, Unpacker, pack
from serving.server.workers.hub import Hub
from serving.server.workers.peer import Peer, Phase
from serving.server.workers.shared import models_from_json, models_to_json
from serving.server.workers.view import Report, Standing, merge
from zoo.errors import InvalidOption, ZooError

START, LOADING, AVAILABLE, UNLOADING, END = 10, 20, 30, 40, 50
JSON = st.recursive(
    st.none() | st.integers(-(2**62), 2**62) | st.text(st.characters()) | st.booleans(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


# === Messages ===


@given(st.lists(st.dictionaries(st.text(), JSON)), st.integers(1, 50))
def test_messages_come_whole_whatever_the_pieces(messages: list[dict], size: int) -> None:
    data = b"".join(map(pack, messages))
    unpacker, found = Unpacker(), []
    for start in range(0, len(data), size):
        found += unpacker.feed(data[start : start + size])
    assert found == messages


def test_names_that_are_not_utf8_and_messages_that_are_too_large() -> None:
    broken = {"path": os.fsdecode(b"/models/\xff")}
    assert Unpacker().feed(pack(broken)) == [broken]
    with pytest.raises(ChannelError):
        Unpacker().feed(struct.pack("!I", 1 << 31))


def test_a_channel_waits_for_a_slow_reader_and_gives_up_on_a_dead_one() -> None:
    mine, theirs = socket.socketpair()
    with mine, theirs:
        channel = Channel(mine)
        sent = [{"text": "x" * 100_000, "number": n} for n in range(100)]
        for message in sent:
            channel.send(message)
        assert channel.is_full
        unpacker, found = Unpacker(), []
        while len(found) < len(sent):
            found += unpacker.feed(theirs.recv(1 << 20))
            channel.flush()
        assert found == sent
        assert not channel.is_full
        theirs.sendall(pack({"kind": "last"}))
        theirs.close()
        assert channel.receive() == ([{"kind": "last"}], False)
        channel.send({"kind": "unheard"})


def test_a_channel_to_somebody_who_never_reads_is_given_up() -> None:
    mine, theirs = socket.socketpair()
    with mine, theirs:
        channel, message = Channel(mine), {"text": "x" * (9 << 20)}
        for _ in range(7):
            channel.send(message)
        with pytest.raises(ChannelError):
            channel.send(message)


def test_models_and_errors_survive_the_way() -> None:
    models = [
        ModelConfig("a", "/a", VersionPolicy("specific", versions=(1, 2)), {"stable": 1}),
        ModelConfig("b", "/b", VersionPolicy("all")),
    ]
    assert models_from_json(Unpacker().feed(pack({"m": models_to_json(models)}))[0]["m"]) == models
    errors: list[ZooError] = [
        StartError("why"), ConfigError("why"), PortInUse(80, "REST", "in use"),
        ServingError(Code.ABORTED, "meanwhile"), InvalidOption("no"),
    ]  # fmt: skip
    for error in errors:
        (told,) = Unpacker().feed(pack(failure.to_json(error)))
        found = failure.from_json(told)
        assert (type(found), str(found)) == (type(error), str(error))
    assert failure.from_json(failure.to_json(errors[3])).code is Code.ABORTED  # type: ignore[attr-defined]


# === What clients are told ===


@pytest.mark.parametrize(
    ("found", "merged"),
    [
        ([AVAILABLE, AVAILABLE], AVAILABLE),
        ([AVAILABLE, LOADING], LOADING),
        ([AVAILABLE, START], START),
        ([AVAILABLE, None], START),
        ([AVAILABLE, UNLOADING], UNLOADING),
        ([AVAILABLE, END], UNLOADING),
        ([END, UNLOADING], UNLOADING),
        ([END, END], END),
        ([END, None], END),
        ([LOADING, END], LOADING),
    ],
)
def test_a_version_is_available_where_all_have_it(found: list[int | None], merged: int) -> None:
    reports = [
        Report({} if state is None else {("m", 1): Standing(state, 0, "")}) for state in found
    ]
    for order in (reports, reports[::-1]):
        assert merge(order).versions == {("m", 1): Standing(merged, 0, "")}


def test_an_error_of_any_is_shown() -> None:
    failed = Standing(END, 13, "broken")
    reports = [Report({("m", 1): Standing(AVAILABLE, 0, "")}), Report({("m", 1): failed}, {"m"})]
    assert merge(reports) == Report({("m", 1): failed}, {"m"})
    assert merge([]) == Report()
    assert Report.from_json(merge(reports).to_json()) == merge(reports)


# === Counts ===


def test_counts_add_up_and_versions_do_not() -> None:
    processes_ = [Metrics() for _ in range(3)]
    for number, metrics in enumerate(processes_, 1):
        metrics.request_count.increment("m", "OK", by=number)
        metrics.request_latency.record(100.0 * number, "m", "REST", "Predict")
        metrics.in_flight.ask = lambda: {(): 1}
        metrics.versions.ask = lambda: {("m", "1", "AVAILABLE"): 1}
    told = [totals.states(metrics, all_kinds=True) for metrics in processes_[1:]]
    page = totals.page(processes_[0], Unpacker().feed(pack({"s": told}))[0]["s"]).decode()
    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 6\n' in page
    latency = (
        ':tensorflow:serving:request_latency_{}{{model_name="m",API="REST",entrypoint="Predict"'
    )
    assert latency.format("count") + "} 3\n" in page
    assert latency.format("sum") + "} 600\n" in page
    assert "model_server_requests_in_flight{} 3\n" in page
    assert 'model_server_versions{model_name="m",version="1",state="AVAILABLE"} 1\n' in page
    assert "model_server_requests_in_flight" not in totals.states(processes_[0], all_kinds=False)


# === The hub ===


class Hands:
    """A hub with workers that are this test."""

    def __init__(self, count: int):
        self.peers: list[Peer] = []
        self.given_up: list[Peer] = []
        self.hub = Hub(self.peers, [], lambda peer, reason: self.given_up.append(peer))
        self.ends: dict[Peer, tuple[socket.socket, Unpacker]] = {}
        for slot in range(count):
            self.add(slot, Phase.SERVING)

    def add(self, slot: int, phase: Phase) -> Peer:
        mine, theirs = socket.socketpair()
        theirs.setblocking(False)
        peer = Peer(slot, 0, Channel(mine), phase)
        self.peers.append(peer)
        self.ends[peer] = (theirs, Unpacker())
        return peer

    def heard(self, peer: Peer) -> list[dict]:
        """What a worker was told since."""
        end, unpacker = self.ends[peer]
        try:
            return unpacker.feed(end.recv(1 << 20))
        except BlockingIOError:
            return []

    def reply(self, peer: Peer, kind: str, **fields: object) -> None:
        """Answer the newest question of this kind."""
        (asked,) = [message for message in self.heard(peer) if message["kind"] == kind]
        self.hub.heard(peer, {"kind": "reply", "id": asked["id"], **fields})

    def close(self) -> None:
        for peer, (end, _) in self.ends.items():
            end.close()
            peer.channel.socket.close()


@pytest.fixture
def hands():
    found = Hands(2)
    yield found
    found.close()


FINE = {"code": 0, "message": ""}


def test_a_reload_is_answered_when_all_have_followed(hands: Hands) -> None:
    first, second = hands.peers
    late = hands.add(2, Phase.LOADING)
    hands.hub.heard(first, {"kind": "reload", "id": 7, "models": [{"name": "m"}]})
    hands.reply(first, "check", **FINE)
    assert hands.hub.models == []
    hands.reply(second, "check", **FINE)
    assert hands.hub.models == [{"name": "m"}]
    assert hands.given_up == [late]  # it had begun with other models
    hands.reply(first, "reload", **FINE)
    hands.reply(second, "reload", **FINE)
    hands.reply(second, "sync")
    hands.reply(first, "sync")
    assert hands.heard(first) == [{"kind": "reply", "id": 7, **FINE}]


def test_a_reload_that_one_refuses_changes_nothing(hands: Hands) -> None:
    first, second = hands.peers
    ends: list[dict] = []
    hands.hub.reload([{"name": "m"}], ends.append)
    hands.reply(first, "check", **FINE)
    hands.reply(second, "check", code=9, message="no such label")
    assert ends == [{"code": 9, "message": "no such label"}]
    assert hands.hub.models == []
    assert hands.heard(first) == hands.heard(second) == []


def test_a_worker_that_dies_keeps_nobody_waiting(hands: Hands) -> None:
    first, second = hands.peers
    ends: list[dict] = []
    second.counts = {":tensorflow:serving:request_count": [[["m", "OK"], 5]]}
    hands.hub.reload([], ends.append)
    hands.hub.heard(first, {"kind": "collect", "id": 3})
    hands.reply(first, "check", **FINE)
    hands.peers.remove(second)
    hands.hub.gone(second)
    told = hands.heard(first)
    assert [message["kind"] for message in told] == ["reload", "reply"]
    assert told[1]["states"][0][":tensorflow:serving:request_count"] == [[["m", "OK"], 5]]
    hands.hub.heard(first, {"kind": "reply", "id": told[0]["id"], **FINE})
    hands.reply(first, "sync")
    assert ends == [FINE]


def test_a_worker_joins_when_it_has_what_clients_were_told_of(hands: Hands) -> None:
    rows = [["m", 1, AVAILABLE, 0, ""]]
    for peer in hands.peers:
        hands.hub.heard(peer, {"kind": "report", "versions": rows, "waiting": []})
    third = hands.add(2, Phase.LOADED)
    assert not hands.hub.may_join(third)
    assert hands.hub.lacks(third) == ["m 1"]
    hands.hub.heard(third, {"kind": "report", "versions": rows, "waiting": []})
    assert hands.hub.may_join(third)
    views = [message for message in hands.heard(hands.peers[0]) if message["kind"] == "view"]
    assert [view["versions"][0][2] for view in views] == [START, AVAILABLE]


# === Flags ===


def test_processes_share_the_cores() -> None:
    assert processes(Flags()) == 1
    assert processes(Flags(num_processes=0)) == cores()
    with pytest.raises(InvalidOption):
        processes(Flags(num_processes=-1))
    assert share_of(Flags(), cores()).tensorflow_intra_op_parallelism == 1
    assert share_of(Flags(), 100 * cores()).tensorflow_intra_op_parallelism == 1
    for chosen in (
        Flags(tensorflow_intra_op_parallelism=3),
        Flags(tensorflow_session_parallelism=3),
        Flags(tensorflow_session_config_file="/session"),
    ):
        assert share_of(chosen, 2) == chosen
