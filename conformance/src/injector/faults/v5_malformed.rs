//! Chapters 3.3 to 3.7 of 5.0: messages and acknowledgements that are wrong, and are taken.

use crate::frame::Kind;
use crate::injector::fault::{Fault, Meddler, fault_5_0, good, is, takes, wrong};

/// It takes a PUBLISH of which the decoder says this.
fn publish(what: &'static str) -> Meddler {
    takes(move |_, frame| is(frame, Kind::Publish) && wrong(frame, what))
}

/// It takes an acknowledgement of which the decoder says this.
fn ack(kind: Kind, what: &'static str) -> Meddler {
    takes(move |_, frame| is(frame, kind) && wrong(frame, what))
}

pub(super) const FAULTS: &[Fault] = &[
    fault_5_0(
        "response-topic-with-a-wildcard-taken",
        "It takes a Response Topic with a wildcard.",
        "3.3.2-14",
        || publish("a wildcard in response_topic"),
    ),
    fault_5_0(
        "response-topic-not-utf8-taken",
        "It takes any bytes for a Response Topic.",
        "3.3.2-13 1.5.4-1",
        || publish("the response_topic is not UTF-8"),
    ),
    fault_5_0("response-topic-u0000-taken", "It takes U+0000 in a Response Topic.", "1.5.4-2", || {
        publish("the response_topic contains U+0000")
    }),
    fault_5_0(
        "content-type-not-utf8-taken",
        "It takes any bytes for a Content Type.",
        "3.3.2-19 1.5.4-1",
        || publish("the content_type is not UTF-8"),
    ),
    fault_5_0("content-type-u0000-taken", "It takes U+0000 in a Content Type.", "1.5.4-2", || {
        publish("the content_type contains U+0000")
    }),
    fault_5_0("user-property-not-utf8-taken", "It takes any bytes for a User Property.", "1.5.7-1", || {
        publish("the user_property is not UTF-8")
    }),
    fault_5_0("user-property-u0000-taken", "It takes U+0000 in a User Property.", "1.5.7-1", || {
        publish("the user_property contains U+0000")
    }),
    fault_5_0(
        "subscription-id-from-a-client-taken",
        "It takes a Subscription Identifier in a client's PUBLISH.",
        "3.3.4-6",
        || publish("subscription_id, which it must not have"),
    ),
    fault_5_0("property-of-another-packet-taken", "It takes any property in a message.", "4.13.1-1", || {
        publish("which it must not have")
    }),
    fault_5_0(
        "property-that-is-none-taken",
        "It skips properties that it does not know.",
        "4.13.1-1",
        || publish("which there is not"),
    ),
    fault_5_0("payload-format-2-taken", "It takes Payload Format Indicator 2.", "4.13.1-1", || {
        publish("payload_format 2")
    }),
    fault_5_0(
        "payload-format-twice-taken",
        "It takes a message with two Payload Format Indicators.",
        "4.13.1-1",
        || publish("payload_format twice"),
    ),
    fault_5_0(
        "message-expiry-twice-taken",
        "It takes a message with two Message Expiry Intervals.",
        "4.13.1-1",
        || publish("message_expiry twice"),
    ),
    fault_5_0("topic-alias-twice-taken", "It takes a message with two topic aliases.", "4.13.1-1", || {
        publish("topic_alias twice")
    }),
    fault_5_0(
        "response-topic-twice-taken",
        "It takes a message with two Response Topics.",
        "4.13.1-1",
        || publish("response_topic twice"),
    ),
    fault_5_0(
        "correlation-data-twice-taken",
        "It takes a message with Correlation Data twice.",
        "4.13.1-1",
        || publish("correlation_data twice"),
    ),
    fault_5_0("content-type-twice-taken", "It takes a message with two Content Types.", "4.13.1-1", || {
        publish("content_type twice")
    }),
    fault_5_0("property-that-is-cut-taken", "It takes properties that end within one.", "4.13.1-1", || {
        publish("it ends within the message_expiry")
    }),
    fault_5_0(
        "properties-beyond-the-packet-taken",
        "It takes properties said to be longer than the packet.",
        "4.13.1-1",
        || publish("it ends within the properties"),
    ),
    fault_5_0(
        "property-length-without-end-taken",
        "It takes a length of properties that goes on after four bytes.",
        "4.13.1-1",
        || publish("length of the properties goes on"),
    ),
    fault_5_0(
        "publish-without-property-length-taken",
        "It takes a message that has no length of properties.",
        "4.13.1-1",
        || publish("it ends within the length of the properties"),
    ),
    // Acknowledgements
    fault_5_0(
        "puback-reason-string-twice-taken",
        "It takes PUBACK with two reason strings.",
        "4.13.1-1",
        || ack(Kind::Puback, "twice"),
    ),
    fault_5_0(
        "pubrec-reason-string-twice-taken",
        "It takes PUBREC with two reason strings.",
        "4.13.1-1",
        || ack(Kind::Pubrec, "twice"),
    ),
    fault_5_0(
        "pubrel-reason-string-twice-taken",
        "It takes PUBREL with two reason strings.",
        "4.13.1-1",
        || ack(Kind::Pubrel, "twice"),
    ),
    fault_5_0(
        "pubcomp-reason-string-twice-taken",
        "It takes PUBCOMP with two reason strings.",
        "4.13.1-1",
        || ack(Kind::Pubcomp, "twice"),
    ),
    fault_5_0("puback-with-content-type-taken", "It takes any property in PUBACK.", "4.13.1-1", || {
        ack(Kind::Puback, "which it must not have")
    }),
    fault_5_0("puback-with-any-code-taken", "It takes any code in PUBACK.", "3.4.2-1", || {
        ack(Kind::Puback, "reason code")
    }),
    fault_5_0("pubrec-with-any-code-taken", "It takes any code in PUBREC.", "3.5.2-1", || {
        ack(Kind::Pubrec, "reason code")
    }),
    fault_5_0("pubrel-with-any-code-taken", "It takes any code in PUBREL.", "3.6.2-1", || {
        ack(Kind::Pubrel, "reason code")
    }),
    fault_5_0("pubcomp-with-any-code-taken", "It takes any code in PUBCOMP.", "3.7.2-1", || {
        ack(Kind::Pubcomp, "reason code")
    }),
    fault_5_0(
        "payloads-not-looked-at",
        "It says that it looks at payloads, and does not.",
        "3.4.2-1 3.5.2-1 4.3.3-9",
        || {
            takes(|_, frame| {
                good(frame, Kind::Publish, |packet| {
                    packet.number("payload_format") == Some(1)
                        && packet
                            .bytes("payload")
                            .is_some_and(|payload| std::str::from_utf8(payload).is_err())
                })
            })
        },
    ),
];
