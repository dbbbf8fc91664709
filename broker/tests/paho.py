"""What paho-mqtt sees of the broker. Usage: paho.py PORT exchange QOS COUNT | retained | will | session

Ends with an error where something is not as it should be. Waits for events, never for time to pass.
"""

import queue
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

PATIENCE = 30  # seconds


class Client:
    """A client whose loop runs in a thread of its own."""

    def __init__(self, client_id, clean=True, will=None):
        self.connected, self.subscribed, self.messages = queue.Queue(), queue.Queue(), queue.Queue()
        self.mqtt = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, clean_session=clean)
        self.mqtt.max_queued_messages_set(0)
        self.mqtt.on_connect = lambda client, data, flags, reason, properties: self.connected.put((flags, reason))
        self.mqtt.on_subscribe = lambda client, data, mid, reasons, properties: self.subscribed.put(reasons)
        self.mqtt.on_message = lambda client, data, message: self.messages.put(message)
        if will:
            self.mqtt.will_set(*will)
        self.mqtt.connect("127.0.0.1", int(sys.argv[1]))
        self.mqtt.loop_start()
        flags, reason = self.connected.get(timeout=PATIENCE)
        assert reason == 0, reason
        self.session_present = flags.session_present

    def subscribe(self, topic, qos):
        self.mqtt.subscribe(topic, qos)
        assert [reason.value for reason in self.subscribed.get(timeout=PATIENCE)] == [qos]
        return self

    def publish(self, topic, payloads, qos, retain=False):
        """Publishes, and waits until all is acknowledged."""
        sent = [self.mqtt.publish(topic, payload, qos, retain) for payload in payloads]
        for message in sent:
            message.wait_for_publish(PATIENCE)
            assert message.is_published()

    def expect(self, topic, payloads, qos, retain=False):
        for payload in payloads:
            message = self.messages.get(timeout=PATIENCE)
            got = (message.topic, message.payload.decode(), message.qos, bool(message.retain), message.dup)
            assert got == (topic, payload, qos, retain, False), (got, payload)

    def close(self):
        self.mqtt.disconnect()
        self.mqtt.loop_stop()
        assert self.messages.empty(), self.messages.get()


def numbers(count):
    return [str(n) for n in range(count)]


def exchange(qos, count):
    qos, payloads = int(qos), numbers(int(count)) + ["end"]
    subscriber, publisher = Client("paho-sub").subscribe("paho/t", qos), Client("paho-pub")
    publisher.publish("paho/t", payloads, qos)
    subscriber.expect("paho/t", payloads, qos)
    publisher.close()
    subscriber.close()


def retained():
    publisher = Client("paho-pub")
    publisher.publish("paho/kept", ["old", "kept"], 1, retain=True)
    subscriber = Client("paho-sub").subscribe("paho/+", 2)
    subscriber.expect("paho/kept", ["kept"], 1, retain=True)
    publisher.publish("paho/kept", [""], 1, retain=True)
    subscriber.expect("paho/kept", [""], 1)
    subscriber.close()
    subscriber = Client("paho-sub").subscribe("paho/+", 2).subscribe("paho/marker", 0)
    publisher.publish("paho/marker", ["nothing before"], 0)
    subscriber.expect("paho/marker", ["nothing before"], 0)
    subscriber.close()


def will():
    heir = Client("paho-heir").subscribe("paho/will", 2)
    Client("paho-left", will=("paho/will", "left", 2)).close()
    broken = Client("paho-broken", will=("paho/will", "broken", 2))
    broken.mqtt.socket().shutdown(2)
    heir.expect("paho/will", ["broken"], 2)
    heir.close()


def session():
    subscriber = Client("paho-session", clean=False).subscribe("paho/t", 2)
    assert not subscriber.session_present
    subscriber.close()
    publisher = Client("paho-pub")
    for qos in [1, 2]:
        publisher.publish("paho/t", numbers(200), qos)
    subscriber = Client("paho-session", clean=False)
    assert subscriber.session_present
    for qos in [1, 2]:
        subscriber.expect("paho/t", numbers(200), qos)
    subscriber.close()


if __name__ == "__main__":
    {f.__name__: f for f in [exchange, retained, will, session]}[sys.argv[2]](*sys.argv[3:])
