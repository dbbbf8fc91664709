"""What paho-mqtt sees of the broker in MQTT 5.0. Usage: paho.py PORT FUNCTION mqtt|ws

Ends with an error where something is not as it should be. Waits for events, never for time to pass.
"""

import os
import queue
import socket
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

PATIENCE = 30  # seconds
LONG = 3600  # seconds; longer than any test


def made(packet_type, values):
    properties = Properties(packet_type)
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


class Client:
    """A client whose loop runs in a thread of its own, and which does not come back by itself."""

    def __init__(self, client_id="", clean=True, will=None, will_properties=None, manual=False, **properties):
        self.connected, self.subscribed, self.unsubscribed = queue.Queue(), queue.Queue(), queue.Queue()
        self.messages, self.disconnected = queue.Queue(), queue.Queue()
        self.published, self.has_published = {}, threading.Condition()
        self.mqtt = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=mqtt.MQTTv5,
            transport="websockets" if sys.argv[3] == "ws" else "tcp",
            manual_ack=manual,
            reconnect_on_failure=False,
        )
        self.mqtt.on_connect = lambda client, data, flags, reason, said: self.connected.put((flags, reason, said))
        self.mqtt.on_subscribe = lambda client, data, mid, reasons, said: self.subscribed.put(reasons)
        self.mqtt.on_unsubscribe = lambda client, data, mid, reasons, said: self.unsubscribed.put(reasons)
        self.mqtt.on_message = lambda client, data, message: self.messages.put(message)
        self.mqtt.on_disconnect = lambda client, data, flags, reason, said: self.disconnected.put((flags, reason, said))
        self.mqtt.on_publish = self.on_publish
        if will:
            self.mqtt.will_set(*will, properties=made(PacketTypes.WILLMESSAGE, will_properties or {}))
        self.mqtt.connect(
            "127.0.0.1", int(sys.argv[1]), clean_start=clean, properties=made(PacketTypes.CONNECT, properties)
        )
        self.mqtt.loop_start()
        flags, reason, self.connack = self.connected.get(timeout=PATIENCE)
        assert reason.value == 0, reason
        self.session_present = flags.session_present

    def on_publish(self, client, data, mid, reason, properties):
        with self.has_published:
            self.published[mid] = reason
            self.has_published.notify_all()

    def subscribe(self, topic, qos=0, identifier=None, **options):
        """Gives the reason code."""
        properties = made(PacketTypes.SUBSCRIBE, {"SubscriptionIdentifier": identifier} if identifier else {})
        self.mqtt.subscribe(topic, options=SubscribeOptions(qos, **options), properties=properties)
        [reason] = self.subscribed.get(timeout=PATIENCE)
        return reason.value

    def unsubscribe(self, topics):
        self.mqtt.unsubscribe(topics)
        return [reason.value for reason in self.unsubscribed.get(timeout=PATIENCE)]

    def publish(self, topic, payload, qos=1, retain=False, **properties):
        """Publishes, waits for the acknowledgement, and gives its reason code."""
        sent = self.mqtt.publish(topic, payload, qos, retain, made(PacketTypes.PUBLISH, properties))
        with self.has_published:
            assert self.has_published.wait_for(lambda: sent.mid in self.published, PATIENCE), payload
            return self.published[sent.mid].value

    def next(self):
        return self.messages.get(timeout=PATIENCE)

    def payloads(self, count):
        return [self.next().payload.decode() for _ in range(count)]

    def expect_nothing(self):
        """What the broker had for this client has come: the answer came behind it."""
        self.unsubscribe("nothing")
        assert self.messages.empty(), self.next().payload

    def lose(self):
        """The connection, as if the network failed."""
        # Of WebSocket paho gives no socket.
        with socket.socket(fileno=os.dup(self.mqtt.socket().fileno())) as connection:
            connection.shutdown(socket.SHUT_RDWR)
        self.disconnected.get(timeout=PATIENCE)
        self.mqtt.loop_stop()

    def close(self, reason=0, **properties):
        self.mqtt.disconnect(
            ReasonCode(PacketTypes.DISCONNECT, identifier=reason), made(PacketTypes.DISCONNECT, properties)
        )
        self.disconnected.get(timeout=PATIENCE)
        self.mqtt.loop_stop()
        assert self.messages.empty(), self.next().payload


def numbers(count):
    return [str(n) for n in range(count)]


CONTENT = {
    "PayloadFormatIndicator": 1,
    "ContentType": "text/plain; charset=utf-8",
    "ResponseTopic": "answers/here",
    "CorrelationData": bytes(range(256)),
    "UserProperty": [("b", "2"), ("a", "1"), ("b", "1"), ("", ""), ("ü", "ß"), ("b", "2")],
}


def check_content(message):
    for name, value in CONTENT.items():
        got = getattr(message.properties, name)
        assert got == value, (name, got)


def properties_go_on_unaltered_and_in_order():
    subscriber, publisher = Client(), Client()
    late = Client("late", SessionExpiryInterval=LONG)
    for client in subscriber, late:
        client.subscribe("t", 2)
    late.close()
    for qos in 0, 1, 2:
        publisher.publish("t", "grüß dich", qos, retain=True, MessageExpiryInterval=LONG, **CONTENT)
    late = Client("late", clean=False, SessionExpiryInterval=LONG)
    retained = Client()
    retained.subscribe("t", 2)
    for client, all_qos in (subscriber, [0, 1, 2]), (late, [1, 2]), (retained, [2]):
        for qos in all_qos:
            message = client.next()
            assert (message.payload.decode(), message.qos) == ("grüß dich", qos)
            assert LONG - PATIENCE <= message.properties.MessageExpiryInterval <= LONG
            check_content(message)
    publisher.publish("t", "plain", 1)
    message = subscriber.next()
    assert message.properties.isEmpty(), message.properties
    for client in late, retained:
        client.next()
    for client in subscriber, late, retained, publisher:
        client.close()


def a_request_is_answered():
    asking, answering = Client(), Client()
    asking.subscribe("answers/asking", 1)
    answering.subscribe("service", 1)
    for n in range(10):
        asking.publish("service", str(n), ResponseTopic="answers/asking", CorrelationData=bytes([n]))
    for _ in range(10):
        asked = answering.next()
        answering.publish(
            asked.properties.ResponseTopic,
            str(int(asked.payload) ** 2),
            CorrelationData=asked.properties.CorrelationData,
        )
    for n in range(10):
        answer = asking.next()
        assert (int(answer.payload), answer.properties.CorrelationData) == (n * n, bytes([n]))
    asking.close()
    answering.close()


def messages_expire():
    publisher = Client()
    publisher.subscribe("absent")
    absent = Client("absent", will=("absent", "now"), SessionExpiryInterval=LONG)
    absent.subscribe("t", 1)
    # Its will says when the broker has seen that it is gone.
    absent.close(reason=4)
    assert publisher.payloads(1) == ["now"]
    for payload, seconds in ("long", LONG), ("short", 1):
        publisher.publish("t", payload, MessageExpiryInterval=seconds)
    # Published last, so that it is the last to expire.
    publisher.publish("kept", "short", retain=True, MessageExpiryInterval=1)
    while True:
        reader = Client()
        reader.subscribe("kept")
        reader.unsubscribe("kept")
        is_over = reader.messages.empty()
        reader.messages = queue.Queue()
        reader.close()
        if is_over:
            break
    absent = Client("absent", clean=False, SessionExpiryInterval=LONG)
    message = absent.next()
    assert message.payload == b"long"
    # Counted down by the time it waited.
    assert LONG - PATIENCE <= message.properties.MessageExpiryInterval < LONG, message.properties
    absent.expect_nothing()
    absent.close()
    publisher.close()


def an_alias_stands_for_its_topic():
    subscriber, publisher = Client(), Client()
    subscriber.subscribe("#", 2)
    most = publisher.connack.TopicAliasMaximum
    assert most >= 2
    sent = [("a/b", most), ("c", 1), ("", most), ("", 1), ("d", 1), ("", 1), ("", most)]
    for qos in 0, 1, 2:
        for n, (topic, alias) in enumerate(sent):
            publisher.publish(topic, str(n), qos, TopicAlias=alias)
        got = [subscriber.next() for _ in sent]
        assert [message.topic for message in got] == ["a/b", "c", "a/b", "c", "d", "d", "a/b"]
        assert [message.payload.decode() for message in got] == numbers(len(sent))
        assert all(message.qos == qos and message.properties.isEmpty() for message in got)
    # One more than the broker takes.
    publisher.mqtt.publish("e", "", properties=made(PacketTypes.PUBLISH, {"TopicAlias": most + 1}))
    _, reason, _ = publisher.disconnected.get(timeout=PATIENCE)
    assert reason.value == 0x94, reason
    subscriber.expect_nothing()
    subscriber.close()


def of_a_shared_subscription_one_member_gets_each_message():
    members, plain, publisher = [Client() for _ in range(3)], Client(), Client()
    for n, member in enumerate(members):
        assert member.subscribe("$share/group/t/+", 1, identifier=n + 1) == 1
    plain.subscribe("t/#", 1)
    for n in range(90):
        publisher.publish("t/x", str(n), retain=True)
    assert plain.payloads(90) == numbers(90)
    got = []
    for n, member in enumerate(members):
        member.unsubscribe("nothing")
        own = []
        while not member.messages.empty():
            message = member.next()
            assert message.properties.SubscriptionIdentifier == [n + 1]
            own.append(int(message.payload))
        assert own and own == sorted(own), own
        got += own
    assert sorted(got) == list(range(90)), sorted(got)
    # Of what is retained it gets nothing, and No Local is a protocol error.
    late = Client()
    assert late.subscribe("$share/group/t/x", 1) == 1
    late.expect_nothing()
    late.close()
    for client in members + [plain]:
        client.close()
    publisher.mqtt.subscribe("$share/group/t/x", options=SubscribeOptions(1, noLocal=True))
    _, reason, _ = publisher.disconnected.get(timeout=PATIENCE)
    assert reason.value == 0x82, reason


def subscriptions_have_options_and_identifiers():
    client, other = Client(), Client()
    # Identifiers, of all that match.
    client.subscribe("t/#", 0, identifier=268435455)
    client.subscribe("t/+", 2, identifier=1)
    client.subscribe("t/a", 1)
    client.subscribe("u", 1, identifier=7)
    other.publish("t/a", "all", 2)
    message = client.next()
    assert sorted(message.properties.SubscriptionIdentifier) == [1, 268435455] and message.qos == 2
    assert client.unsubscribe(["t/#", "t/+", "t/a", "u"]) == [0, 0, 0, 0]
    # No Local.
    client.subscribe("t", 1, noLocal=True)
    client.publish("t", "own")
    other.publish("t", "other")
    assert client.payloads(1) == ["other"]
    # Retain As Published.
    other.publish("t", "not as published", retain=True)
    client.subscribe("t", 1, retainAsPublished=True, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
    other.publish("t", "as published", retain=True)
    other.publish("t", "as published, without", retain=False)
    assert [bool(client.next().retain) for _ in range(3)] == [False, True, False]
    # Retain Handling.
    client.subscribe("t", 1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
    client.expect_nothing()
    client.subscribe("+", 1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
    assert client.payloads(1) == ["as published"]
    client.subscribe("t", 1, retainHandling=SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE)
    assert client.payloads(1) == ["as published"]
    client.close()
    other.close()


def wills_wait_for_the_end_of_the_delay_or_the_session():
    heir = Client()
    heir.subscribe("will/+", 1)

    def willing(name, delay, expiry, clean=True):
        return Client(
            name,
            clean,
            ("will/" + name, name, 1),
            {"WillDelayInterval": delay, "MessageExpiryInterval": LONG, **CONTENT},
            SessionExpiryInterval=expiry,
        )

    def expect(name):
        message = heir.next()
        assert (message.topic, message.payload.decode()) == ("will/" + name, name)
        check_content(message)

    # The session ends first: with the connection, a second later, at once with a new session.
    willing("connection", LONG, 0).lose()
    expect("connection")
    willing("session", LONG, 1).lose()
    expect("session")
    returned = willing("session", LONG, LONG, clean=False)
    assert not returned.session_present
    returned.close()
    willing("new", LONG, LONG).lose()
    returned = willing("new", LONG, LONG)
    expect("new")
    returned.close()
    # Or the delay does.
    willing("delay", 1, LONG).lose()
    expect("delay")
    # The client is back in time.
    willing("back", LONG, LONG).lose()
    returned = willing("back", LONG, LONG, clean=False)
    assert returned.session_present
    returned.close()
    # It says that it wants its will.
    willing("wanted", 0, LONG).close(reason=4)
    expect("wanted")
    heir.expect_nothing()
    heir.close()


def sessions_expire():
    publisher, payloads = Client(), numbers(50)

    def returned(expiry, clean=False):
        return Client("session", clean, SessionExpiryInterval=expiry)

    client = returned(LONG, clean=True)
    client.subscribe("t", 2)
    client.close()
    for payload in payloads:
        publisher.publish("t", payload, 2)
    client = returned(LONG)
    assert client.session_present and client.payloads(50) == payloads
    # Changed on leaving.
    client.close(SessionExpiryInterval=0)
    client = returned(0)
    assert not client.session_present
    client.close()
    client = returned(LONG)
    assert not client.session_present
    client.lose()
    client = returned(LONG)
    assert client.session_present
    client.close()
    client = returned(LONG, clean=True)
    assert not client.session_present
    client.close()
    publisher.close()


def one_message_is_in_flight_at_receive_maximum_1():
    publisher = Client()
    for qos in 1, 2:
        client = Client(manual=True, ReceiveMaximum=1)
        client.subscribe("t", qos)
        for payload in numbers(20):
            publisher.publish("t", payload, qos)
        for payload in numbers(20):
            message = client.next()
            assert (message.payload.decode(), message.qos) == (payload, qos)
            client.expect_nothing()
            # At QoS 2 this is PUBCOMP.
            client.mqtt.ack(message.mid, qos)
        client.close()
    publisher.close()


def what_is_too_large_is_not_sent():
    small, other, publisher = Client(MaximumPacketSize=100), Client(), Client()
    for client in small, other:
        client.subscribe("t", 2)
    for qos in 0, 1, 2:
        publisher.publish("t", "x" * 100, qos)
        publisher.publish("t", "small", qos, UserProperty=[("x", "x" * 100)])
        publisher.publish("t", "small", qos)
    assert small.payloads(3) == ["small"] * 3
    assert other.payloads(9) == ["x" * 100, "small", "small"] * 3
    small.close()
    other.close()
    # The other way.
    most = publisher.connack.MaximumPacketSize
    publisher.mqtt.publish("t", "x" * most)
    _, reason, _ = publisher.disconnected.get(timeout=PATIENCE)
    assert reason.value == 0x95, reason


def acknowledgements_say_more():
    client, unnamed = Client(), [Client() for _ in range(2)]
    # Of PUBREC paho does not tell.
    assert client.publish("nobody", "", 1) == 0x10
    assert client.subscribe("somebody", 2) == 2
    for qos in 1, 2:
        assert client.publish("somebody", "", qos) == 0
    assert client.payloads(2) == ["", ""]
    assert client.unsubscribe(["somebody", "nobody", "#"]) == [0, 0x11, 0x11]
    assigned = [each.connack.AssignedClientIdentifier for each in [client] + unnamed]
    assert len(set(assigned)) == 3 and all(assigned), assigned
    for each in [client] + unnamed:
        each.close()
    assert not hasattr(Client("named").connack, "AssignedClientIdentifier")
    # An assigned identifier is as good as one's own.
    first = Client(SessionExpiryInterval=LONG)
    identifier = first.connack.AssignedClientIdentifier
    first.close()
    assert Client(identifier, clean=False).session_present


def the_first_connection_is_told_that_it_is_taken_over():
    first = Client("taken")
    second = Client("taken")
    flags, reason, said = first.disconnected.get(timeout=PATIENCE)
    assert flags.is_disconnect_packet_from_server and reason.value == 0x8E, (flags, reason)
    assert said.ReasonString, said
    second.close()


def what_connack_says_is_not_available_is_refused():
    client = Client()
    said = client.connack
    assert (said.MaximumQoS, said.RetainAvailable) == (1, 0)
    assert (said.WildcardSubscriptionAvailable, said.SharedSubscriptionAvailable) == (0, 0)
    assert said.SubscriptionIdentifierAvailable == 0
    assert client.subscribe("t", 2) == 2
    for topic, identifier, reason in ("#", None, 0xA2), ("$share/g/t", None, 0x9E), ("t", 1, 0xA1):
        assert client.subscribe(topic, 1, identifier) == reason
    client.publish("t", "still there")
    assert client.payloads(1) == ["still there"]
    client.close()
    for qos, retain, expected in (2, False, 0x9B), (0, True, 0x9A):
        client = Client()
        client.mqtt.publish("t", "", qos, retain)
        _, reason, said = client.disconnected.get(timeout=PATIENCE)
        assert reason.value == expected and said.ReasonString, (reason, said)
        client.mqtt.loop_stop()


if __name__ == "__main__":
    globals()[sys.argv[2]]()
